"""Server-sent events as dialects write them: one object of JSON in each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

DONE = "data: [DONE]\n\n"
"""Ends a stream of OpenAI's chat format."""


def event(data: Mapping[str, Any], name: str = "") -> str:
    """The text of one event, whose type is `name` if it has one. JSON escapes what would end a line."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data)}\n\n"
