"""What the connections of one process share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from api.edge.addresses import TrustedProxies
from api.edge.heads import RequestLine, RequestRefused
from api.edge.limits import EdgeLimits
from api.edge.places import AddressPlaces

TellRefusal = Callable[[str, int, str, str], tuple[str, str]]
"""Path, status, title and message of a refusal: media type and text of the answer in the path's dialect."""

TITLES = {
    400: "Bad Request",
    408: "Request Timeout",
    413: "Content Too Large",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}
_WORTH_REPEATING = frozenset({408, 429, 503})
RETRY_SECONDS = 1
"""After which a client may come again whose connection found no place."""


@dataclass(slots=True)
class Edge:
    """The bounds, the proxies that are believed, and what is counted over all connections."""

    limits: EdgeLimits
    proxies: TrustedProxies
    tell: TellRefusal
    unread_bytes: int = 0
    connections: AddressPlaces = field(init=False)
    forwarded: AddressPlaces = field(init=False)
    """Requests that trusted proxies forward, by the addresses of their clients."""

    def __post_init__(self) -> None:
        limits = self.limits
        self.connections = AddressPlaces(limits.connections, limits.connections_per_address)
        self.forwarded = AddressPlaces(limits.connections, limits.connections_per_address)

    def let_in(self, address: str) -> str:
        """Take a place for a connection of an address; `connections.leave` gives it back.

        A trusted proxy has the connections of all its clients, so their requests are counted instead.

        Raises:
            RequestRefused: there is none.
        """
        if self.connections.full():
            raise RequestRefused(503, "This server has as many connections as it can have")
        if self.connections.full_for(address) and not self.proxies.trusts(address):
            raise RequestRefused(429, "This address has as many connections as it may have")
        self.connections.enter(address)
        return address

    def answer(
        self, refused: RequestRefused, line: RequestLine | None, date: list[tuple[bytes, bytes]]
    ) -> bytes:
        """The bytes of the answer to a request that is refused; the connection ends after them.

        `line` is the request line, if it could be read: without it nobody knows what the client understands.
        """
        title = TITLES[refused.status]
        media_type, text = "text/plain; charset=utf-8", f"{refused.message}\n"
        if line is not None:
            media_type, text = self.tell(line.path, refused.status, title, refused.message)
        body = text.encode("utf-8", "replace")
        fields = [*date, (b"content-type", media_type.encode()), (b"content-length", b"%d" % len(body))]
        if refused.status in _WORTH_REPEATING:
            fields.append((b"retry-after", b"%d" % RETRY_SECONDS))
        else:
            fields.append((b"x-should-retry", b"false"))
        lines = [b"HTTP/1.1 %d %s" % (refused.status, title.encode()), *(b"%s: %s" % one for one in fields)]
        head = b"\r\n".join([*lines, b"connection: close", b"", b""])
        return head if line is not None and line.method == b"HEAD" else head + body
