"""How an outgoing request can fail.

    EgressError                     (an httpx.TransportError)
      +-- DestinationBlocked        blocked_destination   the policy does not admit an address
      +-- NameNotResolved           dns_error
      +-- ConnectFailed             connect_failed        no address accepted a connection
      +-- TlsFailed                 tls_error
      +-- TimedOut                  timeout               in any phase
      +-- ConnectionBroken          connect_failed        reset, closed early, or not HTTP
      +-- BodyTooLarge              too_large             only where the whole body is read

`code` is for clients; the message may hold addresses and is for the operator's log. `sent` says whether the
other side may have seen a byte of the HTTP request (the TLS handshake does not count): if it has not,
repeating the request costs nothing. The classes derive from httpx's, so that a caller of the httpx transport
needs no second `except`.
"""

from typing import ClassVar

import httpx


class EgressError(httpx.TransportError):
    """A request that got no complete answer. `detail` is for the log; `sent`: a byte of it may have left."""

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
    """The name has no address, or the resolver did not answer in time."""

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
