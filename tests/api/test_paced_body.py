"""A body must arrive at a least rate, and must have its size."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from fastapi import Request

from api.paced_body import paced_body
from imagequeue.domain.errors import InvalidRequest, TooLarge


def request(chunks: list[bytes], *, then_hangs: bool = False, announced: int | None = None) -> Request:
    async def messages() -> AsyncGenerator[dict[str, Any]]:
        for chunk in chunks:
            yield {"type": "http.request", "body": chunk, "more_body": True}
        if then_hangs:
            await asyncio.Event().wait()
        yield {"type": "http.request", "body": b"", "more_body": False}

    told = [] if announced is None else [(b"content-length", b"%d" % announced)]
    return Request({"type": "http", "headers": told}, messages().__anext__)


def read(given: Request, most: int = 100, grace: float = 30) -> bytes:
    async def gather() -> bytes:
        return b"".join([chunk async for chunk in paced_body(given, most, grace)])

    return asyncio.run(gather())


def test_a_body_that_arrives_is_read() -> None:
    assert read(request([b"one", b"two"])) == b"onetwo"


def test_a_client_that_sends_nothing_more_is_let_go() -> None:
    with pytest.raises(InvalidRequest, match="less than 64 KiB a second"):
        read(request([b"one"], then_hangs=True), grace=0.01)


@pytest.mark.parametrize(
    ("chunks", "announced"),
    [([b"x" * 60, b"x" * 60], None), ([b"x" * 60, b"x" * 60], 100), ([], 101)],
    ids=["as it comes", "though it says less", "by what it says, before it comes"],
)
def test_a_body_that_is_too_large_is_refused(chunks: list[bytes], announced: int | None) -> None:
    with pytest.raises(TooLarge):
        read(request(chunks, announced=announced))


def test_a_client_that_trickles_is_let_go_however_often_it_sends_something() -> None:
    async def messages() -> AsyncGenerator[dict[str, Any]]:
        while True:
            await asyncio.sleep(0.01)  # the slowness itself is what is tested
            yield {"type": "http.request", "body": b"x", "more_body": True}

    with pytest.raises(InvalidRequest, match="less than 64 KiB a second"):
        read(Request({"type": "http", "headers": []}, messages().__anext__), grace=0.1)
