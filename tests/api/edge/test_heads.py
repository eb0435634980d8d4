"""Heads of requests: where they end, and which are let through."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.edge.heads import Framing, HeadReader, RequestRefused, check_fields, framing_of, read_line
from api.edge.limits import EdgeLimits

LINE = b"GET /a?b HTTP/1.1\r\n"
HEAD = LINE + b"Host: a\r\nX: y\r\n\r\n"
REST = b"the body"


@given(st.lists(st.integers(0, len(HEAD + REST)), max_size=6))
def test_a_head_is_found_however_it_is_cut(cuts: list[int]) -> None:
    reader, data, taken = HeadReader(EdgeLimits()), bytearray(), list[bytes]()
    places = [0, *sorted(cuts), len(HEAD + REST)]
    for begin, end in pairwise(places):
        data += (HEAD + REST)[begin:end]
        if not taken and (head := reader.take(data)) is not None:
            taken.append(head)
    assert (taken, bytes(data)) == ([HEAD], REST)
    assert reader.line is not None
    assert reader.line.path == "/a"


def test_the_next_head_is_read_from_its_beginning() -> None:
    reader, data = HeadReader(EdgeLimits()), bytearray(HEAD + b"\r\n" + HEAD + b"GET")
    assert reader.take(data) == HEAD
    reader.begin()
    assert reader.take(data) == HEAD
    reader.begin()
    assert reader.take(data) is None
    assert reader.line is None


@pytest.mark.parametrize("size", [65_536, 65_537])
def test_a_head_may_have_64_kib(size: int) -> None:
    head = LINE + b"Host: a\r\nX: " + b"y" * (size - len(LINE) - 16) + b"\r\n\r\n"
    assert len(head) == size
    reader = HeadReader(EdgeLimits())
    if size == 65_536:
        assert reader.take(bytearray(head)) == head
        return
    with pytest.raises(RequestRefused) as refused:
        reader.take(bytearray(head))
    assert refused.value.status == 431
    assert reader.line is not None, "so the client is told in its dialect"


@pytest.mark.parametrize(
    ("target", "path"),
    [(b"/", "/"), (b"/a/b?c?d", "/a/b"), (b"http://a/b?c", "/b"), (b"https://a:1/", "/"), (b"*", "/")],
)
def test_the_path_of_a_target(target: bytes, path: str) -> None:
    assert read_line(b"GET " + target + b" HTTP/1.1\r\n").path == path


def test_upgrades_are_taken_out_and_nothing_else() -> None:
    fields = b"Host: a\r\nUpgrade: h2c\r\nUPGRADE: websocket\r\nX-Upgrade: b\r\n\r\n"
    assert check_fields(LINE + fields, 9) == LINE + b"Host: a\r\nX-Upgrade: b\r\n\r\n"


@pytest.mark.parametrize(
    ("fields", "framing"),
    [
        ([], Framing(0, chunked=False, expects=False)),
        ([(b"content-length", b"12 ")], Framing(12, chunked=False, expects=False)),
        ([(b"transfer-encoding", b"Chunked")], Framing(0, chunked=True, expects=False)),
        ([(b"content-length", b"1"), (b"expect", b"100-Continue")], Framing(1, chunked=False, expects=True)),
    ],
)
def test_what_fields_say_about_the_body(fields: list[tuple[bytes, bytes]], framing: Framing) -> None:
    assert framing_of([(b"host", b"a:80"), *fields], old=False) == framing


def test_http_1_0_knows_neither_hosts_nor_a_100() -> None:
    fields = [(b"content-length", b"1"), (b"expect", b"100-continue")]
    assert framing_of(fields, old=True) == Framing(1, chunked=False, expects=False)
