"""What can go wrong on the way out.

    EgressError                     (an httpx.TransportError)
      +-- DestinationBlocked        blocked_destination   the guard said no
      +-- NameNotResolved           dns_error
      +-- ConnectFailed             connect_failed        no connection came about
      +-- TlsFailed                 tls_error
      +-- TimedOut                  timeout               in whatever phase
      +-- ConnectionBroken          connect_failed        reset, closed early, or not HTTP
      +-- BodyTooLarge              too_large             only where a body is wanted whole

`code` is for clients; the message may hold addresses and is for the operator's log. `sent` answers the
question that decides about money: may the other side have seen a byte of the request? Only the HTTP request
counts, not the TLS handshake. The tree hangs below httpx's, so that a caller of the httpx transport needs no
second `except`.
"""

from typing import ClassVar

import httpx


class EgressError(httpx.TransportError):
    """A request that got no complete answer. `detail` is for the log, `sent` as in the module's essay."""

    code: ClassVar[str] = "connect_failed"

    def __init__(self, detail: str, *, sent: bool = False) -> None:
        super().__init__(detail)
        self.sent = sent

    @property
    def never_sent(self) -> bool:
        """True when it is certain that no byte of the request left, so that repeating it costs nothing."""
        return not self.sent


class DestinationBlocked(EgressError):
    """The name leads to an address that the policy does not admit."""

    code = "blocked_destination"


class NameNotResolved(EgressError):
    """The name has no address, or the resolver did not say so in time."""

    code = "dns_error"


class ConnectFailed(EgressError, httpx.ConnectError):
    """No address of the destination accepted a connection."""


class TlsFailed(EgressError, httpx.ConnectError):
    """The handshake failed: certificate expired, for another name, not trusted, or no TLS at all."""

    code = "tls_error"


class TimedOut(EgressError, httpx.TimeoutException):
    """A phase or the whole request took longer than it may."""

    code = "timeout"


class ConnectionBroken(EgressError, httpx.RemoteProtocolError):
    """The connection was reset or closed too early, or what came over it is not HTTP/1.1."""


class BodyTooLarge(EgressError):
    """The answer's body is larger than the caller takes."""

    code = "too_large"
