"""A form is read the same, however it is cut into chunks, and its cost is that of its bytes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.form_stream import FormStream
from imagequeue.domain.errors import InvalidRequest

BOUNDARY = b"----b"
HEAD = b'Content-Disposition: form-data; name="%s"%s\r\n\r\n'


def form(file: bytes, *, file_first: bool = False, end: bytes = b"--\r\n") -> bytes:
    text = HEAD % (b"purpose", b"") + b"batch"
    content = HEAD % (b"file", b'; filename="a.jsonl"') + file
    parts = [content, text] if file_first else [text, content]
    mark = b"--" + BOUNDARY
    return b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts) + mark + end


def read(body: bytes, cuts: list[int]) -> tuple[bytes, FormStream]:
    stream, places = FormStream(BOUNDARY, "file"), sorted({0, len(body), *(cut % len(body) for cut in cuts)})
    found = b"".join(stream.feed(body[begin:end]) for begin, end in pairwise(places))
    stream.end()
    return found, stream


@given(
    file=st.one_of(st.binary(max_size=200), st.text("-\r\nb", max_size=200).map(str.encode)),
    cuts=st.lists(st.integers(0, 1000), max_size=20),
    file_first=st.booleans(),
)
def test_a_form_is_read_the_same_however_it_is_cut(file: bytes, cuts: list[int], *, file_first: bool) -> None:
    if b"\r\n--" + BOUNDARY in b"\r\n" + file:
        return
    found, stream = read(form(file, file_first=file_first), cuts)
    assert found == file
    assert (stream.fields, stream.filename) == ({"purpose": "batch"}, "a.jsonl")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"no form at all, but long enough for a boundary", "not a valid form"),
        (form(b"x")[:-6], "breaks off"),
        (form(b"x", end=b"??"), "not a valid form"),
        (b"--" + BOUNDARY + b"\r\nContent-Type: text/plain\r\n\r\nx", "has no name"),
        (b"--" + BOUNDARY + b"\r\nA: " + b"x" * 20_000, "not a valid form"),
        (form(b"x").replace(b"batch", b"b" * 5000), "more than 4 KiB"),
        (form(b"x").replace(b"batch", b"\xff"), "not UTF-8"),
        (form(b"x")[:-4] + b"\r\n" + form(b"x"), "more than once"),
    ],
)
def test_what_is_no_form_is_refused(body: bytes, told: str) -> None:
    with pytest.raises(InvalidRequest, match=told):
        read(body, [])
