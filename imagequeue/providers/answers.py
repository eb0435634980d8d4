"""The judgement of HTTP statuses in which all upstreams agree.

Source: docs/design/protocols.md, "What an answer means". "Own" is an answer in one of the upstream's
envelopes; a stranger's is a page of HTML, or JSON without a code and a message: something in front of the
upstream answered.

2xx                            read on
400, every other 4xx           Rejected with the upstream's message, `policy` when it is about content;
                               Misconfigured when a code blames our model, key, account or quota;
                               a stranger's: Unavailable, because the upstream was not asked
401 402 407 495 496 498        Misconfigured: the key; a stranger's: Unavailable
403 404 405 410 421 426 497    own: Misconfigured, a 403 about moderation Rejected; else: Unavailable
408 424 460 499                Ambiguous: somebody gave up waiting, and the model may have run
409 423 425 449                Unavailable: the upstream asks for a repeat
413 414 431 494                Rejected: this request is too large, whoever says so
420 429                        Throttled
500 501 503 505 - 511 529      Unavailable: no image was made
521 523 525 526 530            Unavailable: the gateway did not reach the upstream
other 5xx                      Ambiguous: a gateway lost the answer, the model may have run
any, with a code of policy     Rejected, unless it is 401, 402, 420, 429 or Ambiguous by this table
3xx                            Unavailable: redirects are never followed with a key in hand
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

_KEY = frozenset({401, 402, 407, 495, 496, 498})
_ADDRESS = frozenset({403, 404, 405, 410, 421, 426, 497})
_GAVE_UP = frozenset({408, 424, 460, 499})
_REPEAT = frozenset({409, 423, 425, 449})
_TOO_LARGE = frozenset({413, 414, 431, 494})
_THROTTLED = frozenset({420, 429})
_NO_IMAGE = frozenset({500, 501, 503, *range(505, 512), 521, 523, 525, 526, 529, 530})


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
    if status in _THROTTLED:
        return throttled(response, error_body)
    if status < 400:  # noqa: PLR2004
        return Unavailable("the upstream answered with a redirect, which is not followed", http_status=status)
    if status in _GAVE_UP or (status >= 500 and status not in _NO_IMAGE):  # noqa: PLR2004
        return Ambiguous(f"HTTP {status} {error_body.label()}", http_status=status)
    if error_body.names_policy and status not in _KEY:
        return _rejected(status, error_body)
    if status in _NO_IMAGE or status in _REPEAT:
        return Unavailable(f"HTTP {status} {error_body.label()}", http_status=status)
    return _refusal(status, error_body)


def throttled(response: UpstreamResponse, error_body: UpstreamErrorBody) -> Throttled:
    """A 429 with the largest of its hints, in seconds."""
    hint = retry_after_seconds(response)
    out_of_quota = error_body.out_of_quota or (hint or 0) > LONGEST_SECONDS
    return Throttled(
        f"HTTP {response.status} {error_body.label()}",
        http_status=response.status,
        retry_after=clamped(hint),
        out_of_quota=out_of_quota,
    )


def _refusal(status: int, error_body: UpstreamErrorBody) -> UpstreamError:
    """What a 4xx means that says something about the request, the key or the address."""
    if status in _TOO_LARGE:
        return _rejected(status, error_body)
    if _is_strangers(status, error_body):
        return Unavailable(f"HTTP {status}, which is no answer of the upstream itself", http_status=status)
    if status == 403 and error_body.about_moderation:  # noqa: PLR2004
        return _rejected(status, error_body)
    if status in _KEY | _ADDRESS or error_body.about_us:
        in_doubt = status in _ADDRESS and not error_body.about_us
        reason = f"HTTP {status}: {error_body.for_operators()}"
        return Misconfigured(reason, http_status=status, in_doubt=in_doubt)
    return _rejected(status, error_body)


def _is_strangers(status: int, error_body: UpstreamErrorBody) -> bool:
    """Whether something in front of the upstream answered: what a firewall refuses is not about our key.

    Statuses of the address need the upstream's own words, because any proxy answers with them, often with
    an empty body. A firewall's 401 or 402 has a page.
    """
    if status in _ADDRESS:
        return error_body.origin != "upstream"
    return error_body.origin == "stranger"


def _rejected(status: int, error_body: UpstreamErrorBody) -> Rejected:
    return Rejected(error_body.for_clients(), http_status=status, policy=error_body.about_policy)
