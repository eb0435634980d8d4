"""The headers of submits and of answers, as OpenAPI objects.

Source: docs/design/contract.md, "Headers of a submit" and "Errors".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from api.submission_headers import LONGEST_WAIT
from imagequeue.domain.jobs import Lane

_MOMENT = f"Seconds from now, or a time such as `2026-03-31T10:00:00Z`; at most {LONGEST_WAIT.days} days."
_DEADLINE_PATTERN = r"^[0-9]{1,9}(\.[0-9]{1,6})?$|^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ].+$"


def _header(name: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": description, "schema": {"type": "string", **schema}}


SUBMIT_HEADERS: tuple[Mapping[str, Any], ...] = (
    _header(
        "X-Webhook-URL",
        "Where the final status body is posted, signed as Standard Webhooks says: a public https address.",
        format="uri",
    ),
    _header(
        "Idempotency-Key",
        "A repeat with the same key and the same body gets the first answer, and is not charged again.",
        pattern=r"^[ -~]{1,255}$",
    ),
    _header("X-Lane", "`backfill` lets interactive jobs go first.", enum=[lane.value for lane in Lane]),
    _header(
        "X-Start-By",
        f"The job ends as ERROR, and free, if no upstream call began by then. {_MOMENT}",
        pattern=_DEADLINE_PATTERN,
    ),
    _header(
        "X-Finish-By",
        f"The job ends as ERROR, and free, if it is not final by then. {_MOMENT}",
        pattern=_DEADLINE_PATTERN,
    ),
    _header(
        "Prefer",
        "`respond-async` is answered with the job's id, `wait=n` with what is known after n seconds at most.",
        examples=["respond-async", "wait=30"],
    ),
)

ANSWER_HEADERS: Mapping[str, Mapping[str, Any]] = {
    "X-Request-Id": {
        "description": "The id of the job that the answer is about.",
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "Whole seconds after which it is worth to ask again.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "x-should-retry": {
        "description": "`false`: the same request would be answered in the same way.",
        "schema": {"type": "string", "enum": ["true", "false"]},
    },
    "WWW-Authenticate": {
        "description": "How a key may be given.",
        "schema": {"type": "string", "enum": ["Bearer"]},
    },
    "Idempotent-Replayed": {
        "description": "The job was made by an earlier submit, which this one repeats.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "RateLimit-Policy": {
        "description": "How many requests the key may make in how many seconds, where it has a limit.",
        "schema": {"type": "string", "examples": ['"key";q=60;w=60']},
    },
    "RateLimit": {
        "description": "How many requests the key may make now, and in how many seconds one more.",
        "schema": {"type": "string", "examples": ['"key";r=59;t=1']},
    },
    "Preference-Applied": {
        "description": "Which of the preferences in `Prefer` were heeded.",
        "schema": {"type": "string"},
    },
}

SECURITY_SCHEMES: Mapping[str, Mapping[str, Any]] = {
    "Authorization": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer iq_...`"},
    "api-key": {"type": "apiKey", "in": "header", "name": "api-key"},
    "Ocp-Apim-Subscription-Key": {"type": "apiKey", "in": "header", "name": "Ocp-Apim-Subscription-Key"},
}
"""Where an API key may stand; one of them is enough."""

SECURITY: list[dict[str, list[str]]] = [{name: []} for name in SECURITY_SCHEMES]


def answer_headers(names: Iterable[str]) -> dict[str, Any]:
    """The headers that an answer may have."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
