"""What an error body says: its codes, its message, whose words it is, and whether it is about content policy.

Upstreams use four envelopes (docs/design/protocols.md, "Error bodies"): `{"error": {"code", "message"}}`,
`{"error", "message"}`, `{"code", "message"}`, and text. All are read the same way. A body in one of the
first three is the upstream's own answer. A page of HTML, or JSON without a code and a message, comes from
something in front of it: a firewall, a proxy, a load balancer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from imagequeue.domain.policy_words import is_policy
from imagequeue.domain.upstream import Unavailable
from imagequeue.providers import error_words
from imagequeue.providers.response import UpstreamResponse
from imagequeue.providers.values import items, mapping

Origin = Literal["upstream", "unclear", "stranger"]
"""Whose answer it is: the upstream's own, or that of something in front of it. An empty body, or plain text,
may be either's."""

_MESSAGE_LENGTH = 500
"""Characters of an upstream's message that are read: it is stored with the job and sent to the client."""
_CODE_LENGTH = 100
"""Characters of a code: real codes are shorter, and logs show them."""
_PASSED_ON = "provider returned error"
"""OpenRouter's message when the words are those of its own upstream, in `error.metadata.raw`."""


@dataclass(frozen=True, slots=True)
class UpstreamErrorBody:
    """What an upstream says about an error: codes for programs, and a message for people."""

    codes: tuple[str, ...] = ()
    message: str = ""
    moderated: bool = False
    origin: Origin = "unclear"

    @property
    def about_policy(self) -> bool:
        """Whether the request was refused for its content."""
        return self.names_policy or is_policy(self.message)

    @property
    def names_policy(self) -> bool:
        """Whether a code, or a list of reasons, says so. A message may repeat the prompt; a code does not."""
        return self.moderated or any(map(is_policy, self.codes))

    @property
    def about_moderation(self) -> bool:
        """Whether a 403 refuses the request, and not our account.

        Narrower than `about_policy`, because a 403 whose message speaks of "violations" may say that the
        account is closed.
        """
        return self.names_policy or error_words.is_moderation(self.message)

    @property
    def out_of_quota(self) -> bool:
        """Whether the upstream says that a quota is used up which does not refill within minutes."""
        return any(map(error_words.is_quota, self.codes))

    @property
    def about_us(self) -> bool:
        """Whether a code blames our model name, key, account or quota: then no other prompt fares better."""
        return self.out_of_quota or any(map(error_words.is_ours, self.codes))

    def for_clients(self) -> str:
        """The upstream's message, as the client may read it."""
        return self.message or "The upstream refused the request"

    def for_operators(self) -> str:
        """The codes and the message; what looks like a key is replaced."""
        codes = map(error_words.shown_code, self.codes)
        return " ".join((*codes, error_words.without_keys(self.message))).strip() or "no reason given"

    def label(self) -> str:
        """The first code, without the message: in an outage the message may repeat the prompt."""
        return error_words.shown_code(self.codes[0]) if self.codes else "no code"


def error_body_of(response: UpstreamResponse) -> UpstreamErrorBody:
    """Read an error answer, whatever its body is."""
    try:
        body = response.json()
    except Unavailable:
        return _plain(response)
    return error_body_in(body)


def error_body_in(body: Any) -> UpstreamErrorBody:
    """Read a JSON value that holds an error."""
    first = items(body)[:1]
    outer = mapping(first[0] if first else body)
    inner = mapping(outer.get("error")) or mapping(next(iter(items(outer.get("errors"))), None))
    below = _passed_on(inner)
    message = _message(outer, inner)
    if below and message.casefold().strip(" .") in {"", _PASSED_ON}:
        message = below.message
    codes = tuple(dict.fromkeys((*_codes(outer, inner), *(below.codes if below else ()))))
    moderated = _moderated(inner) or (below is not None and below.moderated)
    return UpstreamErrorBody(codes, message, moderated, _origin(body, outer, codes=codes, message=message))


def _plain(response: UpstreamResponse) -> UpstreamErrorBody:
    text = response.content().decode("utf-8", "replace").lstrip("\ufeff").strip()
    if text.startswith("<"):
        return UpstreamErrorBody(origin="stranger")
    readable = (
        text.replace("\n", "").replace("\r", "").replace("\t", "").isprintable() and "\ufffd" not in text
    )
    return UpstreamErrorBody(message=one_line(text)) if readable else UpstreamErrorBody()


def _origin(body: Any, outer: dict[str, Any], *, codes: tuple[str, ...], message: str) -> Origin:
    if "errors" in outer or ("title" in outer and "error" not in outer):  # a gateway's own forms of an error
        return "unclear" if message or codes else "stranger"
    if codes or message:
        return "upstream"
    return "stranger" if outer.keys() - {"error", "message", "detail", "code"} or items(body) else "unclear"


def _message(outer: dict[str, Any], inner: dict[str, Any]) -> str:
    detail = mapping(next(iter(items(outer.get("detail"))), None))
    messages = (
        *(inner.get(key) for key in ("message", "msg", "detail", "description")),
        *(outer.get(key) for key in ("message", "detail", "msg", "title", "error")),
        detail.get("msg"),
    )
    return next((text for text in map(one_line, messages) if text), "")


def _codes(outer: dict[str, Any], inner: dict[str, Any]) -> tuple[str, ...]:
    """The codes of `error`, of the body around it, and of the error inside it, in this order."""
    deepest = mapping(inner.get("inner_error") or inner.get("innererror"))
    codes = [place.get(key) for place in (inner, outer, deepest) for key in ("code", "type", "error_code")]
    codes.append(inner.get("status"))
    if outer.get("message"):
        codes.append(outer.get("error"))
    return tuple(dict.fromkeys(code[:_CODE_LENGTH] for code in map(one_line, codes) if code))


def _passed_on(inner: dict[str, Any]) -> UpstreamErrorBody | None:
    """The error of OpenRouter's own upstream, which it repeats as text."""
    raw = mapping(inner.get("metadata")).get("raw")
    if isinstance(raw, str):
        try:
            raw = json.loads(raw)
        except (ValueError, RecursionError):
            return UpstreamErrorBody(message=one_line(raw))
    return _shallow(raw) if isinstance(raw, dict) else None


def _shallow(raw: Any) -> UpstreamErrorBody:
    outer = mapping(raw)
    inner = mapping(outer.get("error"))
    return UpstreamErrorBody(_codes(outer, inner), _message(outer, inner), _moderated(inner))


def _moderated(inner: dict[str, Any]) -> bool:
    """Whether it is OpenRouter's 403 for moderation, which has its reasons in `error.metadata`."""
    return bool({"reasons", "flagged_input"} & mapping(inner.get("metadata")).keys())


def one_line(value: Any) -> str:
    """A text or a number as one line, cut to what is kept of a message; empty for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return " ".join(str(value)[: 4 * _MESSAGE_LENGTH].split())[:_MESSAGE_LENGTH]
