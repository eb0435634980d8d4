"""What an error body says: its code, its message, and whether it speaks of content policy.

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
_POLICY_WORDS = re.compile(
    r"content[\s_-]*(policy|filter|safety|management)|responsible\s*ai|safety[\s_-]*(system|filter|policy)"
    r"|moderat|flagged|violat\w+ (of )?(our|the|usage|content)|prohibited content|nsfw",
    re.IGNORECASE,
)
_MODERATED_WORDS = re.compile(r"flagged|moderat", re.IGNORECASE)
_QUOTA_CODES = {"insufficient_quota", "quota_exceeded", "billing_hard_limit_reached"}
_MODEL_CODES = {"model_not_found", "deploymentnotfound", "unknown_model"}
_SECRET_LOOKS = re.compile(r"[\w+/=-]{20,}|\b(sk|omx|key)[-_]\w+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class UpstreamErrorBody:
    """An upstream's words: machine-readable codes, outermost first, and a message for people."""

    codes: tuple[str, ...] = ()
    message: str = ""
    moderated: bool = False

    @property
    def about_policy(self) -> bool:
        """Whether the request was refused for what it asks to show."""
        return self.moderated or any(map(_POLICY_WORDS.search, (*self.codes, self.message)))

    @property
    def about_moderation(self) -> bool:
        """Whether a 403 is about the request: narrower, since an account may be closed for "violations"."""
        return self.moderated or any(map(_MODERATED_WORDS.search, (*self.codes, self.message)))

    @property
    def out_of_quota(self) -> bool:
        """Whether the upstream says that a quota which does not refill soon is used up."""
        return any(code.casefold() in _QUOTA_CODES for code in self.codes)

    @property
    def wrong_model(self) -> bool:
        """Whether the upstream does not know the model: our catalog is wrong, whatever the status."""
        return any(code.casefold().replace(" ", "_") in _MODEL_CODES for code in self.codes)

    def for_clients(self) -> str:
        """The upstream's message, as the client may read it."""
        return self.message or "The upstream refused the request"

    def for_operators(self) -> str:
        """The codes, and the message without whatever looks like a key."""
        said = _SECRET_LOOKS.sub("[…]", self.message)
        return " ".join((*self.codes, said)).strip() or "no reason given"

    def label(self) -> str:
        """The first code alone: an answer of an outage may repeat the prompt in its message."""
        return _SECRET_LOOKS.sub("[…]", self.codes[0]) if self.codes else "no code"


def error_body_of(response: UpstreamResponse) -> UpstreamErrorBody:
    """Read an error answer; a body that is no JSON object gives a complaint without words."""
    try:
        body = response.json()
    except Unavailable:
        return UpstreamErrorBody()
    return error_body_in(body)


def error_body_in(body: Any) -> UpstreamErrorBody:
    """Read a JSON value that holds an error."""
    outer = mapping(body)
    inner = mapping(outer.get("error"))
    said = (inner.get("message"), outer.get("message"), outer.get("detail"), outer.get("error"))
    message = next((text for text in map(_one_line, said) if text), "")
    return UpstreamErrorBody(codes=_codes(outer, inner), message=message, moderated=_moderated(inner))


def _codes(outer: dict[str, Any], inner: dict[str, Any]) -> tuple[str, ...]:
    deepest = mapping(inner.get("inner_error") or inner.get("innererror"))
    named = [place.get(key) for place in (inner, outer, deepest) for key in ("code", "type")]
    if outer.get("message"):
        named.append(outer.get("error"))
    return tuple(dict.fromkeys(name[:100] for name in map(_one_line, named) if name))


def _moderated(inner: dict[str, Any]) -> bool:
    """OpenRouter's 403 for moderation carries its reasons in `error.metadata`."""
    return bool({"reasons", "flagged_input"} & mapping(inner.get("metadata")).keys())


def _one_line(value: Any) -> str:
    if not isinstance(value, str | int):
        return ""
    return " ".join(str(value).split())[:_MESSAGE_LENGTH]
