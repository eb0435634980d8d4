"""The possible results of one upstream call.

A provider's `parse` returns `Images` or `Pending`, or raises one of the errors below. For a call without an
answer `exchange.send` raises one. `domain/verdicts.py` says what each means for the job.

    UpstreamError
    ├── Rejected         this request will never be served: content policy, or a 400 that is about it
    ├── Throttled        a 429; `retry_after` in seconds when the upstream gave a hint
    ├── Unavailable      500, 503, an answer without a usable image or from a stranger, or no connection
    ├── Misconfigured    401, 402, 403, 404 of the upstream itself: our key or deployment is wrong
    └── Ambiguous        the request may have been sent and no usable answer came: it may be billed
        └── LinkBroken   the answer came, and an image that it names by URL could not be had
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal


class UpstreamError(Exception):
    """An upstream call that brought no image. `reason` may be shown to operators: never a prompt or key.

    `cost_usd` is what the upstream says that it charged all the same. `paid_images` counts the images of an
    answer that could not be used: they are paid, even where the upstream does not say what they cost.
    """

    def __init__(self, reason: str, *, http_status: int | None = None) -> None:
        super().__init__(reason)
        # An upstream may send any text; a text column takes neither lone surrogates nor NUL.
        self.reason = reason.encode("utf-8", "replace").decode().replace("\x00", "")
        self.http_status = http_status
        self.cost_usd: Decimal | None = None
        self.paid_images = 0


class Rejected(UpstreamError):
    """The upstream refused the request itself. `reason` is shown to the client.

    `policy` is True for a content policy refusal; other 400s may also mean that the deployment is wrong.
    """

    def __init__(self, reason: str, *, http_status: int | None = None, policy: bool = False) -> None:
        super().__init__(reason, http_status=http_status)
        self.policy = policy


class Throttled(UpstreamError):
    """The upstream answered 429."""

    def __init__(
        self,
        reason: str,
        *,
        http_status: int | None = 429,
        retry_after: float | None = None,
        out_of_quota: bool = False,
    ) -> None:
        super().__init__(reason, http_status=http_status)
        self.retry_after = retry_after
        self.out_of_quota = out_of_quota


class Unavailable(UpstreamError):
    """The upstream could not serve it now. `sent` is False when not one byte of the request was sent.

    `images` are those of an answer that held fewer than were asked for: they are paid, so they are used.
    """

    def __init__(self, reason: str, *, http_status: int | None = None, sent: bool = True) -> None:
        super().__init__(reason, http_status=http_status)
        self.sent = sent
        self.images: tuple[RawImage, ...] = ()


class Misconfigured(UpstreamError):
    """The deployment's key, name or endpoint is wrong.

    `in_doubt`: the status may also be about this request, as a firewall's 403 is, and no code blames us. Then
    it is only believed of a deployment that serves nobody else.
    """

    def __init__(self, reason: str, *, http_status: int | None = None, in_doubt: bool = False) -> None:
        super().__init__(reason, http_status=http_status)
        self.in_doubt = in_doubt


class Ambiguous(UpstreamError):
    """A call in doubt: the upstream may have served, and billed, it."""


class LinkBroken(Ambiguous):
    """An answer names an image by a URL that gave none; an upstream that is polled may give another URL."""


@dataclass(frozen=True, slots=True)
class RawImage:
    """One image as the upstream sent it: its bytes, or the URL to download it from."""

    content: bytes | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Images:
    """A success: the images of one call, and what the upstream says that it charged, in USD."""

    images: tuple[RawImage, ...]
    cost_usd: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """A submit-and-poll upstream accepted the request; its result is polled for with `reference`."""

    reference: str
    poll_after_seconds: float = 2.0
    cost_usd: Decimal | None = field(default=None)
