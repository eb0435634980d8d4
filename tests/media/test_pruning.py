"""Pictures with metadata on which decoders choke are pictures: the metadata is dropped, the pixels count."""

from __future__ import annotations

import io
import os
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from PIL import Image, ImageChops

from imagequeue.domain.encoded import EncodedImage
from imagequeue.domain.errors import InvalidRequest
from imagequeue.domain.upstream import Unavailable
from imagequeue.media.images import check_output
from imagequeue.media.inputs import prepare_input, prepare_mask
from imagequeue.media.pruning import without_metadata
from tests.media.pictures import chunk, picture

MIB = 1024 * 1024
NOISE = os.urandom(2 * MIB)
BOMB = zlib.compress(bytes(200 * MIB))
"""200 KB that unpack to 200 MiB."""
_AFTER_HEADER, _END = 33, -12


def _png(*chunks: bytes, at: int = _AFTER_HEADER) -> bytes:
    whole = picture()
    return whole[:at] + b"".join(chunks) + whole[at:]


def _jpeg(*segments: bytes) -> bytes:
    whole = picture("jpeg")
    return whole[:2] + b"".join(segments) + whole[2:]


def _segment(kind: int, data: bytes) -> bytes:
    return bytes([0xFF, kind]) + (len(data) + 2).to_bytes(2, "big") + data


def _text(size: int) -> bytes:
    return zlib.compress(NOISE[:size])


def _profile(size: int) -> list[bytes]:
    """A profile of no meaning in so many markers as it needs."""
    pieces = [NOISE[at : at + 65_000] for at in range(0, size, 65_000)]
    return [
        _segment(0xE2, b"ICC_PROFILE\0" + bytes([number, len(pieces)]) + piece)
        for number, piece in enumerate(pieces, start=1)
    ]


PNGS = {
    "2 MiB of zTXt": _png(chunk(b"zTXt", b"prompt\0\0" + _text(2 * MIB))),
    "2 MiB of zTXt at the end": _png(chunk(b"zTXt", b"prompt\0\0" + _text(2 * MIB)), at=_END),
    "zTXt that unpacks to 200 MiB": _png(chunk(b"zTXt", b"prompt\0\0" + BOMB)),
    "zTXt that is not packed": _png(chunk(b"zTXt", b"prompt\0\0nonsense")),
    "2 MiB of compressed iTXt": _png(chunk(b"iTXt", b"prompt\0\1\0\0\0" + _text(2 * MIB))),
    "70 texts that unpack to 70 MiB": _png(*[chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(MIB)))] * 70),
    "a profile of 2 MiB": _png(chunk(b"iCCP", b"icc\0\0" + _text(2 * MIB))),
    "a profile that unpacks to 200 MiB": _png(chunk(b"iCCP", b"icc\0\0" + BOMB)),
    "a profile that is not packed": _png(chunk(b"iCCP", b"icc\0\0nonsense")),
    "a text whose check sum is wrong": _png(chunk(b"tEXt", b"key\0value")[:-4] + b"oops"),
    "a gamma that is too short": _png(chunk(b"gAMA", b"1")),
    "a pHYs that is too short": _png(chunk(b"pHYs", b"1")),
    "2 MiB of eXIf": _png(chunk(b"eXIf", b"MM\0*\0\0\0\x08" + NOISE)),
    "2 MiB of private data": _png(chunk(b"prVt", NOISE)),
}
JPEGS = {
    "13 MiB of comments": _jpeg(*[_segment(0xFE, bytes(65_000))] * 200),
    "a profile of 2 MiB": _jpeg(*_profile(2 * MIB)),
    "application data of 2 MiB": _jpeg(*[_segment(0xED, NOISE[:60_000])] * 35),
    "an Adobe marker that is too short": _jpeg(_segment(0xEE, b"Adobe")),
    "a camera's marker that is nonsense": _jpeg(_segment(0xE1, b"Exif\0\0nonsense")),
    "an index of images that is nonsense": _jpeg(_segment(0xE2, b"MPF\0nonsense")),
    "fill bytes": _jpeg(b"\xff\xff"),
}
OTHERS = {
    "a WebP with 2 MiB about the camera": picture("webp", exif=b"Exif\0\0MM\0*\0\0\0\x08" + NOISE),
    "a WebP with 2 MiB of XMP": picture("webp", xmp=NOISE),
    "a WebP with a profile of 2 MiB": picture("webp", icc_profile=NOISE),
    "a GIF with 2 MiB of comments": picture("gif", comment=NOISE),
}
ALL = PNGS | {f"{name} (JPEG)": content for name, content in JPEGS.items()} | OTHERS
CHECKS: dict[str, Callable[[bytes], EncodedImage]] = {
    "input": prepare_input,
    "mask": prepare_mask,
    "answer": lambda content: check_output(content, "png"),
    "answer as WebP": lambda content: check_output(content, "webp"),
    "answer as JPEG": lambda content: check_output(content, "jpeg"),
}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", ALL)
def test_a_picture_with_much_metadata_is_a_picture(name: str, check: str) -> None:
    """What comes out can be opened by a client that uses the same decoder."""
    made = CHECKS[check](ALL[name])
    with Image.open(io.BytesIO(made.content)) as image:
        image.load()
        assert image.size == (made.width, made.height) == (40, 30)


@pytest.mark.parametrize("name", PNGS)
def test_the_pixels_stay_as_they_are(name: str) -> None:
    made = check_output(PNGS[name], "png")
    with Image.open(io.BytesIO(made.content)) as image, Image.open(io.BytesIO(picture())) as original:
        assert ImageChops.difference(image.convert("RGB"), original.convert("RGB")).getbbox() is None


def test_metadata_that_decoders_take_stay_in_an_answer() -> None:
    """Provenance marks, for instance."""
    for content in (_png(chunk(b"caBX", b"mark")), _png(chunk(b"tEXt", b"Software\0model"))):
        assert check_output(content, "png").content == content


def test_metadata_is_not_unpacked() -> None:
    bombs = [PNGS["zTXt that unpacks to 200 MiB"], PNGS["a profile that unpacks to 200 MiB"]]
    tracemalloc.start()
    for content in bombs:
        check_output(content, "png")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * MIB


BROKEN = {
    "half a PNG": _png(chunk(b"zTXt", b"prompt\0\0" + BOMB))[: 33 + len(BOMB) + 60],
    "half a chunk": PNGS["2 MiB of zTXt"][:1000],
    "a PNG without pixels": picture()[:33] + chunk(b"zTXt", b"prompt\0\0" + BOMB),
    "half a JPEG": picture("jpeg", size=(400, 300))[:600],
    "a JPEG without a scan": _jpeg(_segment(0xEE, b"Adobe"))[:30],
    "only the start of a PNG": b"\x89PNG\r\n\x1a\n",
    "only the start of a JPEG": b"\xff\xd8\xff",
}


@pytest.mark.parametrize("name", BROKEN)
def test_half_a_picture_is_none_with_or_without_its_metadata(name: str) -> None:
    without_metadata(BROKEN[name])
    with pytest.raises(InvalidRequest):
        prepare_input(BROKEN[name])
    with pytest.raises(Unavailable):
        check_output(BROKEN[name], "png")


@pytest.mark.parametrize("length", range(0, 200, 7))
@pytest.mark.parametrize("content", [PNGS["a gamma that is too short"], JPEGS["fill bytes"]])
def test_bytes_that_end_anywhere_are_cut_down_without_an_error(content: bytes, length: int) -> None:
    pruned = without_metadata(content[:length])
    assert pruned is None or len(pruned) <= length


def test_a_png_with_many_compressed_texts_is_taken_without_them() -> None:
    text = chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(1024 * 1024)))
    source = picture()
    at = source.index(b"IDAT") - 4
    tracemalloc.start()
    made = prepare_input(source[:at] + text * 60 + source[at:])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert made.content == prepare_input(source).content
    assert peak < 8 * 1024 * 1024
