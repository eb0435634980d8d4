"""What an error body says: its codes, its message, and whether it is about content policy.

Upstreams use four envelopes (docs/design/protocols.md, "Error bodies"): `{"error": {"code", "message"}}`,
`{"error", "message"}`, `{"code", "message"}`, and text. All are read the same way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from imagequeue.domain.upstream import Unavailable
from imagequeue.providers.response import UpstreamResponse
from imagequeue.providers.values import mapping

_MESSAGE_LENGTH = 500
"""Characters of an upstream's message that are read: it is stored with the job and sent to the client."""
_CODE_LENGTH = 100
"""Characters of a code: real codes are shorter, and logs show them."""
_POLICY_WORDS = re.compile(
    r"content[\s_-]*(policy|filter|safety|management)|responsible\s*ai|safety[\s_-]*(system|filter|policy)"
    r"|moderat|flagged|violat\w+ (of )?(our|the|usage|content)|prohibited content|nsfw",
    re.IGNORECASE,
)
_MODERATED_WORDS = re.compile(r"flagged|moderat", re.IGNORECASE)
_QUOTA_CODES = {"insufficient_quota", "quota_exceeded", "billing_hard_limit_reached"}
_MODEL_CODES = {"model_not_found", "deploymentnotfound", "unknown_model"}
_LOOKS_LIKE_A_KEY = re.compile(r"[\w+/=-]{20,}|\b(sk|omx|key)[-_]\w+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class UpstreamErrorBody:
    """What an upstream says about an error: codes for programs, and a message for people."""

    codes: tuple[str, ...] = ()
    message: str = ""
    moderated: bool = False

    @property
    def about_policy(self) -> bool:
        """Whether the request was refused for its content."""
        return self.moderated or any(map(_POLICY_WORDS.search, (*self.codes, self.message)))

    @property
    def about_moderation(self) -> bool:
        """Whether a 403 refuses the request, and not our account.

        Narrower than `about_policy`, because a 403 that speaks of "violations" may say that the account is
        closed.
        """
        return self.moderated or any(map(_MODERATED_WORDS.search, (*self.codes, self.message)))

    @property
    def out_of_quota(self) -> bool:
        """Whether the upstream says that a quota is used up which does not refill within minutes."""
        return any(code.casefold() in _QUOTA_CODES for code in self.codes)

    @property
    def wrong_model(self) -> bool:
        """Whether the upstream does not know the model: then our catalog is wrong, whatever the status."""
        return any(code.casefold().replace(" ", "_") in _MODEL_CODES for code in self.codes)

    def for_clients(self) -> str:
        """The upstream's message, as the client may read it."""
        return self.message or "The upstream refused the request"

    def for_operators(self) -> str:
        """The codes and the message; what looks like a key is replaced."""
        message = _LOOKS_LIKE_A_KEY.sub("[…]", self.message)
        return " ".join((*self.codes, message)).strip() or "no reason given"

    def label(self) -> str:
        """The first code, without the message: in an outage the message may repeat the prompt."""
        return _LOOKS_LIKE_A_KEY.sub("[…]", self.codes[0]) if self.codes else "no code"


def error_body_of(response: UpstreamResponse) -> UpstreamErrorBody:
    """Read an error answer; a body that is not a JSON object has no codes and no message."""
    try:
        body = response.json()
    except Unavailable:
        return UpstreamErrorBody()
    return error_body_in(body)


def error_body_in(body: Any) -> UpstreamErrorBody:
    """Read a JSON value that holds an error."""
    outer = mapping(body)
    inner = mapping(outer.get("error"))
    messages = (inner.get("message"), outer.get("message"), outer.get("detail"), outer.get("error"))
    message = next((text for text in map(_one_line, messages) if text), "")
    return UpstreamErrorBody(codes=_codes(outer, inner), message=message, moderated=_moderated(inner))


def _codes(outer: dict[str, Any], inner: dict[str, Any]) -> tuple[str, ...]:
    """The codes of `error`, of the body around it, and of the error inside it, in this order."""
    deepest = mapping(inner.get("inner_error") or inner.get("innererror"))
    codes = [place.get(key) for place in (inner, outer, deepest) for key in ("code", "type")]
    if outer.get("message"):
        codes.append(outer.get("error"))
    return tuple(dict.fromkeys(code[:_CODE_LENGTH] for code in map(_one_line, codes) if code))


def _moderated(inner: dict[str, Any]) -> bool:
    """Whether it is OpenRouter's 403 for moderation, which has its reasons in `error.metadata`."""
    return bool({"reasons", "flagged_input"} & mapping(inner.get("metadata")).keys())


def _one_line(value: Any) -> str:
    if not isinstance(value, str | int):
        return ""
    return " ".join(str(value).split())[:_MESSAGE_LENGTH]
