"""The only sender: one request to an upstream, from an open connection to an answer on disk.

Three moments decide about money and quota, and httpx's trace extension shows each at the place where it
happens, in the thread that makes the call:

- the connection is open, the first byte is not written: `before_send` is called. It may wait for the
  attempt's `slot_at` and mark it CALLING, so that name look-up, TCP and TLS cost nothing of the slot. When it
  raises, the call is withdrawn, not one byte was sent, and its exception passes through.
- the request is written to its end: `on_sent`, once. From here the token's return is counted. When writing
  broke off, or the answer came before the end, it is called as late as possible instead: an upstream may
  have counted the call at any moment until then.
- the answer is here, or will never be. What failed before the first byte is `Unavailable(sent=False)`;
  after it, nobody knows (`Ambiguous`). A status is worth more than its body: an error answer whose body
  breaks off is judged by its status.

Every call has a connection of its own. A kept one may be closed by the other side at the very moment of
sending, most likely while `before_send` waits, and the call's outcome would be unknown for nothing.

The total deadline is in `request.extensions["deadline"]` (seconds of `time.monotonic`); the client's
transport must hold it (`imagequeue.egress.deadline_transport`), because httpx's own timeouts are per
operation. The loop that reads the body looks at it as well.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any, cast

import httpcore
import httpx

from imagequeue.domain.upstream import Ambiguous, Misconfigured, Unavailable
from imagequeue.providers.response import UpstreamResponse

MIB = 1024 * 1024
IN_MEMORY_BYTES = MIB
"""A larger body goes to disk: 64 calls in flight must not hold 64 images in memory."""
ERROR_BODY_BYTES = 64 * 1024

_HEADERS = {
    "Accept-Encoding": "identity",  # a compressed body could unfold without bound
    "Connection": "close",
}

log = logging.getLogger(__name__)


def response_limit(image_count: int) -> int:
    """How many bytes an answer with so many images may have: 16 MiB each, in base64 a PNG of 12 MiB.

    At most 64 MiB for all: an answer is parsed in memory, and ten images of usual size take 55 MiB.
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

    `deadline_seconds` covers everything, also what `before_send` waits. `on_sent` gets the moment on the
    monotonic clock; it should not raise, and if it does, the call goes on without it.

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
        # The error's own text shows the header that cannot be written, and that is the key.
        raise Misconfigured("the key or the endpoint cannot be written into a request") from None
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise progress.judged(error) from error
    finally:
        progress.note_sent()


@dataclass(slots=True)
class _Progress:
    """How far a request has come; called by httpcore with the name of each step."""

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
        """Say once that the upstream may have counted the call. Failing to say it must not lose the image."""
        if not self.started or self.noted:
            return
        self.noted = True
        try:
            self.on_sent(time.monotonic())
        except Exception:
            log.exception("The moment of sending could not be noted; the token's lease stands")

    def judged(self, error: Exception) -> Unavailable | Ambiguous:
        """What a transport error means for the attempt; its text may name addresses, never keys."""
        reason = f"{type(error).__name__}: {error}"
        never_sent = not self.started or getattr(error, "never_sent", False)
        return Unavailable(reason, sent=False) if never_sent else Ambiguous(reason)


def _exchange(
    request: httpx.Request, client: httpx.Client, deadline: float, max_bytes: int
) -> UpstreamResponse:
    response = client.send(request, stream=True, follow_redirects=False)
    # SpooledTemporaryFile moves to disk by itself; the caller closes it with the answer.
    body = cast("IO[bytes]", tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES))  # noqa: SIM115
    try:
        with contextlib.closing(response):
            _read(response, body, deadline, max_bytes)
    except BaseException:
        body.close()
        raise
    body.seek(0)
    return UpstreamResponse(response.status_code, response.headers, body)


def _read(response: httpx.Response, body: IO[bytes], deadline: float, max_bytes: int) -> None:
    if response.is_success:
        _read_success(response, body, deadline, max_bytes)
        return
    with contextlib.suppress(httpx.TransportError):  # the status is known; what came of the words is enough
        for chunk in response.iter_raw():
            body.write(chunk[: ERROR_BODY_BYTES - body.tell()])
            if body.tell() >= ERROR_BODY_BYTES or time.monotonic() > deadline:
                return


def _read_success(response: httpx.Response, body: IO[bytes], deadline: float, max_bytes: int) -> None:
    _refuse_encoding(response)
    for chunk in response.iter_raw():
        if body.tell() + len(chunk) > max_bytes:
            raise Unavailable(
                f"the answer is larger than {max_bytes} bytes", http_status=response.status_code
            )
        if time.monotonic() > deadline:
            raise httpx.ReadTimeout("the total deadline of the call passed", request=response.request)
        body.write(chunk)


def _refuse_encoding(response: httpx.Response) -> None:
    encoding = response.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise Unavailable(
            f"the answer is encoded ({encoding[:40]}) although that was not asked for",
            http_status=response.status_code,
        )


def _timeouts(deadline_seconds: float) -> dict[str, float | None]:
    return httpx.Timeout(deadline_seconds).as_dict()


def _nothing() -> None:
    """What happens before sending when the caller has nothing to do."""


def _ignored(moment: float) -> None:
    """What happens with the moment of sending when the caller does not ask."""
    del moment
