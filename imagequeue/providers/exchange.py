"""The only sender: one request to an upstream, from an open connection to an answer on disk.

Money and quota depend on three moments. httpx's trace extension reports each of them when it happens, in the
thread that makes the call:

- The connection is open, and no byte is written: `before_send` is called. It may wait for the attempt's
  planned start and mark the attempt CALLING, so name look-up, TCP and TLS do not delay the start. When it
  raises, the call is not made: no byte was sent, and the exception passes through.
- The request is written to its end: `on_sent` is called once, and the token's time begins. When writing
  breaks off, or the answer comes before the end of the request, `on_sent` is called after the exchange,
  because the upstream may have counted the call at any moment until then.
- The answer is here, or will never come. A failure before the first byte is `Unavailable(sent=False)`, one
  after it is `Ambiguous`. An error answer whose body breaks off is judged by its status.

Every call opens a connection of its own. The upstream could close an idle one at the moment of sending, most
likely while `before_send` waits, and then the outcome of the call would be unknown without need.

The total deadline is in `request.extensions["deadline"]` (seconds of `time.monotonic`). The client's
transport must enforce it (`imagequeue.egress.deadline_transport`), because httpx's own timeouts are for one
operation each. The loop that reads the body checks it as well.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any, cast

import httpcore
import httpx

from imagequeue.domain.upstream import Ambiguous, Misconfigured, Unavailable
from imagequeue.providers.response import UpstreamResponse
from imagequeue.providers.unpacking import unpacked
from imagequeue.spooling import Spool

MIB = 1024 * 1024
IN_MEMORY_BYTES = MIB
"""A larger body goes to disk: 64 calls in flight must not hold 64 images in memory."""
ERROR_BODY_BYTES = 64 * 1024
"""No more of an error answer is read: its code and message are shorter."""

_HEADERS = {
    "Accept-Encoding": "identity",  # a small compressed body could decompress to gigabytes
    "Connection": "close",
}

log = logging.getLogger(__name__)


def response_limit(image_count: int) -> int:
    """The most bytes that an answer with so many images may have.

    16 MiB for each image, which is a PNG of 12 MiB in base64, and 1 MiB for the rest. At most 64 MiB, because
    an answer is parsed in memory; ten images of usual size take 55 MiB.
    """
    return min(MIB + 16 * MIB * image_count, 64 * MIB)


def send(  # noqa: PLR0913  # each is a separate decision of the caller
    request: httpx.Request,
    *,
    client: httpx.Client,
    deadline_seconds: float,
    max_bytes: int,
    on_sent: Callable[[float], None] | None = None,
    before_send: Callable[[], None] | None = None,
) -> UpstreamResponse:
    """Send the request and read the answer; the caller closes what is returned.

    `deadline_seconds` covers everything, the wait of `before_send` included. `on_sent` is given the time of
    sending in seconds of `time.monotonic`. When it raises, the error is logged and the call goes on.

    Raises:
        Unavailable: no connection (`sent` is False), or a success larger than `max_bytes`.
        Ambiguous: the request may have been sent, and no whole answer came.
        Misconfigured: the key or the endpoint is malformed.
    """
    deadline = time.monotonic() + deadline_seconds
    progress = _Progress(before_send or _nothing, on_sent or _ignored)
    request.headers.update(_HEADERS)
    request.extensions |= {"trace": progress, "deadline": deadline, "timeout": _timeouts(deadline_seconds)}
    try:
        return _exchange(request, client, deadline, max_bytes)
    except (httpx.LocalProtocolError, httpcore.LocalProtocolError, httpx.UnsupportedProtocol):
        # The error's own text shows the header that cannot be written, and the key is in that header.
        raise Misconfigured("the key or the endpoint cannot be written into a request") from None
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise progress.judged(error) from error
    finally:
        progress.note_sent()


@dataclass(slots=True)
class _Progress:
    """How far a request has come. httpcore calls it with the name of each step."""

    before_send: Callable[[], None]
    on_sent: Callable[[float], None]
    started: bool = field(default=False, init=False)
    noted: bool = field(default=False, init=False)

    def __call__(self, event: str, info: dict[str, Any]) -> None:
        del info
        if event.endswith(".send_request_headers.started") and not self.started:
            self.before_send()
            self.started = True
        elif event.endswith(".send_request_body.complete"):
            self.note_sent()

    def note_sent(self) -> None:
        """Call `on_sent` once, if a byte may have been sent. An error in it must not lose the images."""
        if not self.started or self.noted:
            return
        self.noted = True
        try:
            self.on_sent(time.monotonic())
        except Exception:
            log.exception("The moment of sending could not be noted; the token's lease stands")

    def judged(self, error: Exception) -> Unavailable | Ambiguous:
        """What a transport error means for the attempt. Its text may contain addresses, but no keys."""
        reason = f"{type(error).__name__}: {error}"
        never_sent = not self.started or getattr(error, "never_sent", False)
        return Unavailable(reason, sent=False) if never_sent else Ambiguous(reason)


def _exchange(
    request: httpx.Request, client: httpx.Client, deadline: float, max_bytes: int
) -> UpstreamResponse:
    response = client.send(request, stream=True, follow_redirects=False)
    body = cast("IO[bytes]", Spool(IN_MEMORY_BYTES))
    try:
        with contextlib.closing(response):
            _read(response, body, deadline, max_bytes)
    except BaseException:
        body.close()
        raise
    body.seek(0)
    return UpstreamResponse(response.status_code, response.headers, body, str(request.url))


def _read(response: httpx.Response, body: IO[bytes], deadline: float, max_bytes: int) -> None:
    chunks = unpacked(response.iter_raw(), response.headers.get("content-encoding", "identity"))
    if response.is_success:
        _read_success(response, chunks, body, deadline, max_bytes)
        return
    # The status is known; part of the message is enough.
    with contextlib.suppress(httpx.TransportError, Unavailable):
        for chunk in chunks:
            body.write(chunk[: ERROR_BODY_BYTES - body.tell()])
            if body.tell() >= ERROR_BODY_BYTES or time.monotonic() > deadline:
                return


def _read_success(
    response: httpx.Response, chunks: Iterator[bytes], body: IO[bytes], deadline: float, max_bytes: int
) -> None:
    """Store the body; the bound counts what is unpacked, because that is what is parsed in memory."""
    for chunk in chunks:
        if body.tell() + len(chunk) > max_bytes:
            raise Unavailable(
                f"the answer is larger than {max_bytes} bytes", http_status=response.status_code
            )
        if time.monotonic() > deadline:
            raise httpx.ReadTimeout("the total deadline of the call passed", request=response.request)
        body.write(chunk)


def _timeouts(deadline_seconds: float) -> dict[str, float | None]:
    return httpx.Timeout(deadline_seconds).as_dict()


def _nothing() -> None:
    """The default of `before_send`."""


def _ignored(moment: float) -> None:
    """The default of `on_sent`."""
    del moment
