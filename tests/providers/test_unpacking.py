"""Compressed answers: not asked for, unpacked within the bound, kept."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import socket
import sys
import zlib
from collections.abc import Callable

import brotli
import httpx
import pytest

from imagequeue.domain.upstream import Unavailable
from imagequeue.providers import exchange
from imagequeue.providers.unpacking import unpacked
from tests.providers.scripted import answer, read_request, scripted_server
from tests.providers.sending import MIB, replying, send

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def bare_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


PACKED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "gzip by its old name": ("x-gzip", gzip.compress),
    "gzip in capitals": ("GZIP", gzip.compress),
    "gzip twice": ("gzip, gzip", lambda body: gzip.compress(gzip.compress(body))),
    "gzip in two members": ("gzip", lambda body: gzip.compress(body[:9]) + gzip.compress(body[9:])),
    "gzip with padding": ("gzip", lambda body: gzip.compress(body) + bytes(20)),
    "zlib": ("deflate", zlib.compress),
    "deflate without a header": ("deflate", bare_deflate),
    "brotli": ("br", brotli.compress),
    "brotli, at its least": ("BR", lambda body: brotli.compress(body, quality=0)),
    "zstd": ("zstd", zstd.compress),
    "zstd in two frames": ("zstd", lambda body: zstd.compress(body[:9]) + zstd.compress(body[9:])),
    "brotli, then zstd": ("br, zstd", lambda body: zstd.compress(brotli.compress(body))),
    "zstd, then gzip": ("zstd, gzip", lambda body: gzip.compress(zstd.compress(body))),
    "nothing, where br was said": ("br", bytes),
    "nothing, where zstd was said": ("zstd", bytes),
    "deflate, then gzip": ("deflate, gzip", lambda body: gzip.compress(zlib.compress(body))),
    "nothing, whatever the header says": ("gzip", bytes),
    "nothing, where deflate was said": ("deflate", bytes),
    "a word that is no coding": ("utf-8", bytes),
    "identity": ("identity", bytes),
}


def _with_a_window_of_128_mib() -> bytes:
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    return packer.compress(ANSWER) + packer.flush()


ANSWER = json.dumps({"data": [{"b64_json": "QUJD" * 50_000}]}).encode()


@pytest.mark.parametrize("form", PACKED)
def test_a_compressed_answer_is_not_asked_for_and_taken_all_the_same(client: httpx.Client, form: str) -> None:
    coding, pack = PACKED[form]
    heads: list[bytes] = []

    def script(connection: socket.socket) -> None:
        heads.append(read_request(connection).lower())
        connection.sendall(answer(200, pack(ANSWER), f"Content-Encoding: {coding}"))

    with scripted_server(script) as url, send(client, url) as response:
        assert response.content() == ANSWER
    assert b"accept-encoding: identity" in heads[0]


@pytest.mark.parametrize("form", PACKED)
def test_the_words_of_a_compressed_error_are_read(client: httpx.Client, form: str) -> None:
    coding, pack = PACKED[form]
    body = json.dumps({"error": {"message": "The prompt is too long"}}).encode()
    script = replying(answer(400, pack(body), f"Content-Encoding: {coding}"))
    with scripted_server(script) as url, send(client, url) as response:
        assert (response.status, response.json()) == (400, json.loads(body))


BOMBS = ["gzip", "gzip twice", "zlib", "deflate without a header", "brotli", "zstd", "brotli, then zstd"]


@pytest.mark.parametrize("form", BOMBS)
def test_a_bomb_is_unpacked_within_the_bound_of_the_answer(client: httpx.Client, form: str) -> None:
    coding, pack = PACKED[form]
    bomb = pack(bytes(30 * MIB))
    assert len(bomb) < MIB
    for status in (200, 400):
        with scripted_server(replying(answer(status, bomb, f"Content-Encoding: {coding}"))) as url:
            if status == 200:
                with pytest.raises(Unavailable, match="larger than"):
                    send(client, url, max_bytes=MIB)
            else:
                with send(client, url) as response:
                    assert len(response.content()) == exchange.ERROR_BODY_BYTES


@pytest.mark.parametrize("form", BOMBS)
def test_no_step_of_unpacking_makes_more_than_a_piece(form: str) -> None:
    coding, pack = PACKED[form]
    pieces = unpacked([pack(bytes(30 * MIB))], coding)
    first = [len(piece) for piece in itertools.islice(pieces, 20)]
    assert 0 < max(first) <= 64 * 1024
    assert sum(first) + sum(map(len, pieces)) == 30 * MIB


@pytest.mark.parametrize("form", PACKED)
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_where_the_network_cuts_a_compressed_answer_does_not_matter(form: str, step: int) -> None:
    coding, pack = PACKED[form]
    body = b'{"data": "' + os.urandom(3000).hex().encode() + ANSWER[-2000:]
    packed = pack(body)
    assert b"".join(unpacked([packed], coding)) == body
    assert b"".join(unpacked((packed[at : at + step] for at in range(0, len(packed), step)), coding)) == body


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("compress", ANSWER),
        ("br", brotli.compress(ANSWER[:900], quality=5)[:20] + b"x" * 99),
        ("br", b"no brotli at all"),
        ("zstd", zstd.compress(ANSWER)[:20] + b"x" * 99),
        ("zstd", _with_a_window_of_128_mib()),
        ("gzip, gzip, gzip, gzip", ANSWER),
        ("gzip", gzip.compress(ANSWER)[:20] + b"x" * 99),
    ],
)
def test_what_cannot_be_unpacked_is_unavailable(client: httpx.Client, coding: str, body: bytes) -> None:
    with (
        scripted_server(replying(answer(200, body, f"Content-Encoding: {coding}"))) as url,
        pytest.raises(Unavailable),
    ):
        send(client, url)
