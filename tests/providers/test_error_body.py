"""The message of an upstream's error, in every envelope."""

from __future__ import annotations

from typing import Any

import pytest

from imagequeue.providers.error_body import error_body_in


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "inner"}, "message": "outer"}, "inner"),
        ({"error": "Bad Request", "message": "outer"}, "outer"),
        ({"error": "only this"}, "only this"),
        ({"detail": "a\n  detail"}, "a detail"),
        ({"detail": [{"loc": ["prompt"]}]}, ""),
        ("text", ""),
        (None, ""),
    ],
)
def test_messages_in_every_envelope(body: Any, message: str) -> None:
    assert error_body_in(body).message == message
