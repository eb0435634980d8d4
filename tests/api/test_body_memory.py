"""What a body holds is let go when its request has been answered, not when garbage is collected."""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import Generator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from tests.api.edge.conversation import Conversation
from tests.api.service import Client
from tests.builders import MODEL

MIB = 1024 * 1024
TIMES = 12
PATH = f"/{MODEL}-edit/v1/{MODEL}-edit-request"


@contextmanager
def no_collection() -> Generator[None]:
    """Nothing is freed but what nobody refers to."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()
        gc.enable()


def _request(client: Client, field: str, text: str) -> bytes:
    """A submit whose field has a data URL of 1 MiB, of which no two are the same."""
    url = "data:image/png;base64," + text.ljust(MIB, "A")
    body = json.dumps({"prompt": "make it blue", field: [url]}).encode()
    lines = (
        f"POST {PATH} HTTP/1.1",
        "Host: a",
        f"Authorization: Bearer {client.key}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.mark.parametrize(
    ("field", "start"),
    [("unknown", ""), ("image_urls", "!"), ("image_urls", "")],
    ids=["an unknown field", "no base64", "no picture"],
)
def test_a_refused_body_leaves_nothing_behind(field: str, start: str, client: Client) -> None:
    port, held = urlsplit(client.service.url).port or 0, list[int]()
    with no_collection(), Conversation(port) as connection:
        for number in range(TIMES):
            connection.send(_request(client, field, f"{start}{number:04}"))
            assert connection.answer().status == 400
            held.append(tracemalloc.get_traced_memory()[0])
    before, after = held[1], held[-1]  # what is made once is there after the first two
    assert after - before < (TIMES - 2) * MIB / 4
