"""Words of upstreams' errors: which mean that a model stopped, which blame us, and which look like a key.

Sources: the codes that the documents of the upstreams show, and those that are seen from gateways in front
of the same models (OpenRouter passes on what its own upstreams say).
"""

from __future__ import annotations

import re

_MODERATION = re.compile(r"flagged|moderat(ion|ed)", re.IGNORECASE)
_REFUSAL_REASON = re.compile(
    r"safety|prohibited|blocklist|recitation|spii|content[\s_-]*filter|content[\s_-]*block|moderat(ion|ed)|refus"
    r"|sensitive|nsfw|policy",
    re.IGNORECASE,
)
"""Why a model stopped, when it stopped for the content: `SAFETY`, `IMAGE_SAFETY`, `PROHIBITED_CONTENT`,
`BLOCKLIST`, `RECITATION`, `SPII` and theirs for images, `content_filter`, `refusal`, `Content Moderated`."""
_QUOTA = {
    "insufficient_quota",
    "insufficient_user_quota",
    "insufficient_balance",
    "insufficient_credits",
    "quota_exceeded",
    "billing_hard_limit_reached",
    "billing_not_active",
    "payment_required",
    "arrearage",
}
_OURS = {
    "model_not_found",
    "deploymentnotfound",
    "unknown_model",
    "invalid_model",
    "unsupported_model",
    "invalid_api_key",
    "api_key_invalid",
    "incorrect_api_key",
    "authentication_error",
    "account_deactivated",
    "account_suspended",
}
_THROTTLED = re.compile(
    r"rate[\s_-]*limit|too[\s_-]*many[\s_-]*requests|throttl|resource[\s_-]*exhausted", re.IGNORECASE
)
_INVALID = re.compile(
    r"invalid[\s_-]*(request|argument|param|prompt|size)|bad[\s_-]*request|validation|user_error",
    re.IGNORECASE,
)
_TIMED_OUT = re.compile(r"time[\s_-]*(d[\s_-]*)?out|deadline[\s_-]*exceeded", re.IGNORECASE)

_KEY = re.compile(r"\b(?:sk|omx|key)[-_]\w+|[\w+/=-]{20,}", re.IGNORECASE)
_OWN_PREFIX = re.compile(r"(?:sk|omx)[-_]", re.IGNORECASE)
_WORD = r"(?:[A-Za-z]+\d{0,3}|\d{1,4})"
_IDENTIFIER = re.compile(rf"{_WORD}(?:[_./:\s-]+{_WORD})*")
"""Words and short numbers: `sensitive_words_detected`, `InternalError.Algo.DataInspectionFailed`. No key
looks like this: a key of letters alone would be a weak one."""
_MASK = "[…]"


def is_moderation(text: str) -> bool:
    """Whether a message says that moderation refused the request."""
    return _MODERATION.search(text) is not None


def is_refusal_reason(text: str) -> bool:
    """Whether a model's reason to stop means that it, or a filter, refused the content."""
    return _REFUSAL_REASON.search(text) is not None


def is_quota(code: str) -> bool:
    """Whether a code says that a quota is used up which does not refill within minutes."""
    return _normal(code) in _QUOTA


def is_ours(code: str) -> bool:
    """Whether a code says that our model name, key or account is wrong."""
    return _normal(code) in _OURS


def status_of_codes(codes: tuple[str, ...]) -> int:
    """The HTTP status that codes mean when an error inside a success names none; 500 when they do not say."""
    kinds = ((_THROTTLED, 429), (_TIMED_OUT, 504), (_INVALID, 400))
    return next((status for kind, status in kinds if any(map(kind.search, codes))), 500)


def shown_code(code: str) -> str:
    """A code for operators. It is masked only when it cannot be one."""
    named = _IDENTIFIER.fullmatch(code) and not _OWN_PREFIX.match(code)
    return code if named else without_keys(code)


def without_keys(text: str) -> str:
    """The text with everything replaced that looks like a key."""
    return _KEY.sub(lambda found: _masked(found.group()), text)


def _masked(run: str) -> str:
    """A long run of words, such as a code, is no key; a short one that begins like ours may be one."""
    is_words = _IDENTIFIER.fullmatch(run) and not re.match(r"(?:sk|omx|key)[-_]", run, re.IGNORECASE)
    return run if is_words else _MASK


def _normal(code: str) -> str:
    return re.sub(r"[\s-]+", "_", code.casefold().strip())
