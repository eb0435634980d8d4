"""Server-sent events as text."""

from __future__ import annotations

from imagequeue.dialects.events import DONE, event
from tests.dialects.examples import events


def test_an_event_is_one_object_whatever_its_texts_hold() -> None:
    data = {"text": "line\nline\r\n\n\u2028: ping\ndata: [DONE]\ud800", "more": [1, None]}
    assert events(event(data) + event(data, "named") + DONE) == [
        {"data": data},
        {"event": "named", "data": data},
        {"data": "[DONE]"},
    ]
    assert event(data).isascii()
