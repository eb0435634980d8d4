"""Bodies: where they end, and when they are late."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.edge.bodies import Body, BodyClock, ChunkedBody, CountedBody
from api.edge.heads import RequestRefused
from api.edge.limits import EdgeLimits

CHUNKS = b"5\r\nhello\r\n1;a=b\r\n,\r\n00D\r\n hello\r\n0\r\n\r\n\r\n0\r\na: b\r\nc: d\r\n\r\n"
REST = b"GET / HTTP/1.1\r\n\r\n"


def taken(body: Body, sent: bytes, cuts: list[int]) -> tuple[bytes, bytes]:
    """What the parser gets of bytes that come in pieces, and what is left."""
    data, told = bytearray(), b""
    places = [0, *sorted(cuts), len(sent)]
    for begin, end in pairwise(places):
        data += sent[begin:end]
        while not body.complete and (size := body.take(data)):
            told += bytes(data[:size])
            del data[:size]
    return told, bytes(data)


@given(st.lists(st.integers(0, len(CHUNKS + REST)), max_size=8))
def test_chunks_end_at_the_same_place_however_they_are_cut(cuts: list[int]) -> None:
    body = ChunkedBody(EdgeLimits())
    assert taken(body, CHUNKS + REST, cuts) == (CHUNKS, REST)
    assert body.complete


@given(st.integers(0, 30), st.lists(st.integers(0, 40), max_size=8))
def test_a_body_of_a_known_length_ends_there(length: int, cuts: list[int]) -> None:
    sent = bytes(range(40))
    assert taken(CountedBody(length), sent, cuts) == (sent[:length], sent[length:])


def test_many_chunks_must_carry_something_on_average() -> None:
    limits = EdgeLimits(small_chunks=10, chunk_bytes=4)
    eleven = b"3\r\nabc\r\n" * 11
    assert taken(ChunkedBody(limits), eleven, []) == (eleven, b"")
    with pytest.raises(RequestRefused, match="small chunks"):
        taken(ChunkedBody(limits), b"1\r\na\r\n" * 14, [])


def test_a_body_earns_its_time_by_what_comes() -> None:
    limits = EdgeLimits(
        body_grace_seconds=10, body_bytes_per_second=100, body_seconds=60, large_body_bytes_per_second=50_000
    )
    clock = BodyClock(limits, now=1000)
    assert clock.due == 1010
    clock.count(500)
    assert clock.due == 1015
    clock.count(1_000_000)
    assert clock.due == 1060, "the most"
    clock.count(4_000_000)
    assert clock.due == pytest.approx(1100.01), "a large one that goes on coming may take longer"  # pyright: ignore[reportUnknownMemberType]


def test_the_clock_of_a_body_stands_while_the_server_reads_nothing() -> None:
    clock = BodyClock(EdgeLimits(body_grace_seconds=10), now=1000)
    clock.pause(1001)
    clock.pause(1005)
    assert clock.due is None
    clock.resume(1100)
    clock.resume(1101)
    assert clock.due == 1010 + 99
