"""The judgement of HTTP statuses in which all upstreams agree.

Source: docs/design/protocols.md, "What an answer means".

2xx                  read on
400 and other 4xx    Rejected, with the upstream's message; `policy` when it is about content
401 402 403 404 405  Misconfigured; a 403 with a moderation body is Rejected
4xx for the model    Misconfigured: Pixazo says "Model not found" with a 400
408                  Ambiguous: the upstream gave up waiting, for us or for its model
429                  Throttled
500 501 503 507 529  Unavailable
other 5xx            Ambiguous: a gateway lost the answer, the model may have run
3xx                  Unavailable: redirects are never followed with a key in hand
"""

from __future__ import annotations

from imagequeue.domain.upstream import (
    Ambiguous,
    Misconfigured,
    Rejected,
    Throttled,
    Unavailable,
    UpstreamError,
)
from imagequeue.providers.error_body import UpstreamErrorBody, error_body_of
from imagequeue.providers.hints import LONGEST_SECONDS, clamped, retry_after_seconds
from imagequeue.providers.response import UpstreamResponse

_CERTAINLY_NO_IMAGE = frozenset({500, 501, 503, 507, 529})
_ADDRESS = frozenset({403, 404, 405})
_OUR_FAULT = frozenset({401, 402}) | _ADDRESS


def require_success(response: UpstreamResponse) -> None:
    """Return when the status is 2xx.

    Raises:
        UpstreamError: the one that the status means.
    """
    if not 200 <= response.status < 300:  # noqa: PLR2004  # the class of success statuses
        raise judged(response, error_body_of(response))


def judged(response: UpstreamResponse, error_body: UpstreamErrorBody) -> UpstreamError:
    """The error that a status other than 2xx means."""
    status = response.status
    if status == 429:  # noqa: PLR2004
        return throttled(response, error_body)
    if status >= 500 or status == 408:  # noqa: PLR2004
        return _outage(status, error_body)
    if status < 400:  # noqa: PLR2004
        return Unavailable("the upstream answered with a redirect, which is not followed", http_status=status)
    return _refusal(status, error_body)


def throttled(response: UpstreamResponse, error_body: UpstreamErrorBody) -> Throttled:
    """A 429 with the largest of its hints, in seconds."""
    hint = retry_after_seconds(response.headers)
    out_of_quota = error_body.out_of_quota or (hint or 0) > LONGEST_SECONDS
    return Throttled(
        f"HTTP 429 {error_body.label()}",
        http_status=response.status,
        retry_after=clamped(hint),
        out_of_quota=out_of_quota,
    )


def _refusal(status: int, error_body: UpstreamErrorBody) -> UpstreamError:
    moderated = status == 403 and error_body.about_moderation  # noqa: PLR2004
    ours = status in _OUR_FAULT and not moderated
    blamed = error_body.out_of_quota or error_body.wrong_model
    if ours or blamed:
        in_doubt = status in _ADDRESS and not blamed
        reason = f"HTTP {status}: {error_body.for_operators()}"
        return Misconfigured(reason, http_status=status, in_doubt=in_doubt)
    return Rejected(error_body.for_clients(), http_status=status, policy=error_body.about_policy)


def _outage(status: int, error_body: UpstreamErrorBody) -> UpstreamError:
    reason = f"HTTP {status} {error_body.label()}"
    kind = Unavailable if status in _CERTAINLY_NO_IMAGE else Ambiguous
    return kind(reason, http_status=status)
