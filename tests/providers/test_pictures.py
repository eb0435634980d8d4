"""Images in answers: base64, with or without the head of a data URL, and links."""

from __future__ import annotations

import base64
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagequeue.domain.encoded import EncodedImage
from imagequeue.providers.pictures import absolute, data_url, decoded


@pytest.mark.parametrize(
    "text",
    [
        "aGVsbG8=",
        "aGVsbG8",
        "aGVs\nbG8=",
        " aGVsbG8= ",
        "aGVsbG8%3D",
        "data:image/png;base64,aGVsbG8=",
        "data:,hello",
    ],
)
def test_base64_with_or_without_the_head_of_a_data_url(text: str) -> None:
    assert decoded(text) == b"hello"


@pytest.mark.parametrize(
    "text", ["aGVs*bG8=", "aGVsb", "data:image/png;base64", "<html>", "äöü=", "", "=", "%%%", "\ud800"]
)
def test_what_is_no_base64_is_none(text: str) -> None:
    assert decoded(text) is None


@pytest.mark.parametrize("size", [0, 1, 48 * 1024, 48 * 1024 + 1, 100_001])
def test_a_data_url_has_the_whole_image_and_is_read_again(size: int) -> None:
    content = random.Random(size).randbytes(size)  # noqa: S311  # no secret
    url = data_url(EncodedImage(content, "image/png", 1, 1))
    assert url == f"data:image/png;base64,{base64.b64encode(content).decode()}"
    assert decoded(url) == (content or None)


@settings(deadline=None)  # other work on the machine is not a fault
@given(st.text(max_size=80))
def test_no_text_makes_the_readers_stumble(text: str) -> None:
    for read in (text, f"data:image/png;base64,{text}", f"data:,{text}"):
        assert decoded(read) is None or isinstance(decoded(read), bytes)
        link = absolute(read, "https://upstream.example/v1/x")
        assert link is None or link.startswith(("https://", "http://"))
