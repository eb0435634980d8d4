"""How much a connection may cost, in one place. Tests set lower numbers."""

from __future__ import annotations

from dataclasses import dataclass

from imagequeue.settings import Settings

KIB = 1024
MIB = 1024 * KIB
_FILES = 2
"""Open files that a connection may need: its socket, and one in which a large body waits."""
_DRAIN_FACTOR = 2
"""A body may be so many times as large as the largest that is taken until its client is cut off."""

_LEAST_DRAINED_BYTES = 8 * MIB
"""What the two kernels may hold of a body: its client has sent all of it when it reads the answer, and would
send its next request on a connection that is about to be closed."""


@dataclass(frozen=True, slots=True)
class EdgeLimits:
    """The bounds of one process. Sizes are in bytes, times in seconds."""

    head_bytes: int = 64 * KIB
    """Request line and header fields. Proxies in front take 8 to 32 KiB."""
    fields: int = 100
    """Header fields of a request; and of the trailer of a chunked body."""
    head_seconds: float = 10.0
    """From the first byte of a head, or from the connect, until the head is complete."""
    idle_seconds: float = 75.0
    """Between an answer and the next head. Longer than the 60 s for which load balancers keep connections."""

    body_grace_seconds: float = 20.0
    """What a body may take in any case, so that a slow start costs nobody the request."""
    body_bytes_per_second: float = 4 * KIB
    """Least rate of a body after the grace: what a bad mobile line still sends."""
    body_seconds: float = 900.0
    """Most time for a body that comes more slowly than `large_body_bytes_per_second`."""
    large_body_bytes_per_second: float = 64 * KIB
    """Least rate of a body that may take longer: a file of lines has up to 1 GiB."""
    drained_bytes: int = 64 * MIB
    """What is read and dropped of a body after its answer: most clients read that when they have sent all."""

    unread_bytes: int = 64 * KIB
    """What may wait of further requests while one is served; above it the socket is not read."""
    all_unread_bytes: int = 64 * MIB
    """The same, and heads that are not complete, of all connections together."""
    chunk_line_bytes: int = 1 * KIB
    """The line before a chunk, with its extensions, which nobody here reads."""
    small_chunks: int = 1024
    """Chunks of any size that a body may have; the further ones must carry `chunk_bytes` on average."""
    chunk_bytes: int = 64
    """A chunk costs the same whatever its size, so smaller ones cost more than their sender."""
    trailer_bytes: int = 8 * KIB
    """The trailer of a chunked body, which nobody here reads."""

    stall_seconds: float = 60.0
    """For which a client may read nothing of an answer that waits for it."""
    linger_seconds: float = 2.0
    """For which a refused client may go on sending. If the socket were closed at once, the kernel would reset
    the connection, and the client would not read why."""

    connections: int = 8192
    """Open connections; each costs about 12 KB."""
    connections_per_address: int = 2048
    """Of one IPv4 address or IPv6 /64. 2,000 jobs that one client waits for are a connection each."""

    @classmethod
    def of(cls, settings: Settings, files: int | None = None) -> EdgeLimits:
        """The bounds, with those that an operator has set; `files` is how many the process may have open."""
        most = settings.max_connections
        return cls(
            connections=most if files is None else min(most, files // _FILES),
            connections_per_address=settings.max_connections_per_address,
            drained_bytes=max(_LEAST_DRAINED_BYTES, _DRAIN_FACTOR * settings.max_body_bytes),
        )
