"""Pictures that need much memory: another process prepares them, and what they do to it harms nobody else."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path

import pytest
from PIL import Image

from imagequeue.domain.errors import InvalidRequest
from imagequeue.domain.upstream import Unavailable
from imagequeue.media.child import INPUT_CHILD, ChildLimits
from imagequeue.media.gate import return_memory
from imagequeue.media.images import check_output, check_stored
from imagequeue.media.inputs import prepare_input, prepare_mask, reencoded
from tests.media.pictures import encoded, picture

MIB = 1024 * 1024
LITTLE = ChildLimits(150 * MIB)
MOST = 7_071
"""Pixels of a side of the largest square that is taken."""


def _memory(field: str) -> int:
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":")) * 1024


def _scans(number: int) -> bytes:
    """A progressive JPEG whose last scan, of a few bytes, is there so many times."""
    jpeg = encoded(Image.new("RGB", (2_000, 2_000)), "jpeg", progressive=True)
    last = jpeg.rindex(b"\xff\xda")
    return jpeg[:-2] + jpeg[last:-2] * number + b"\xff\xd9"


@pytest.mark.parametrize("kind", ["webp", "png", "gif", "jpeg"])
def test_a_child_makes_of_a_picture_what_this_process_would(kind: str) -> None:
    source = picture(kind, size=(2_400, 2_400))
    assert prepare_input(source) == reencoded(source, is_mask=False)
    assert prepare_mask(source) == reencoded(source, is_mask=True)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("kind", ["webp", "png", "gif"])
def test_the_largest_pictures_are_prepared_and_this_process_hardly_grows(kind: str, mode: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    source = Image.new(mode, (MOST, MOST - 10))
    content = encoded(source, kind, **({} if kind == "gif" else {"exif": exif, "lossless": True}))
    del source
    return_memory()
    Path("/proc/self/clear_refs").write_text("5", "ascii")
    before = _memory("VmRSS")
    image = prepare_input(content, name="image_urls[0]")
    assert (image.width * image.height, image.media_type) == (
        pytest.approx(3072 * 3072, rel=0.01),
        "image/png",
    )
    assert _memory("VmHWM") - before < 16 * MIB


def test_a_picture_that_needs_more_memory_than_a_child_has_is_refused_by_its_name() -> None:
    for kind in ("png", "webp"):
        source = encoded(Image.new("RGBA", (5_000, 5_000)), kind)
        with pytest.raises(InvalidRequest, match=r"image_urls\[0\]: the image is unusable: it .*memory"):
            prepare_input(source, name="image_urls[0]", limits=LITTLE)


def test_a_picture_that_takes_too_long_is_refused_and_its_child_is_killed() -> None:
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    before = children.read_text("ascii")  # servers of the session, where the tests are spread
    with pytest.raises(InvalidRequest, match="mask: the image is unusable: it takes too long to decode"):
        prepare_mask(_scans(10_000), limits=ChildLimits(1024 * MIB, seconds=1))
    assert children.read_text("ascii") == before


@pytest.mark.parametrize("kind", ["png", "webp", "gif"])
def test_a_paid_image_that_a_child_cannot_decode_is_kept_as_it_came(kind: str) -> None:
    source = encoded(Image.new("RGBA", (4_800, 5_000)), kind)
    kept = check_output(source, "jpeg", limits=LITTLE)
    assert (kept.content, kept.media_type, kept.width, kept.height) == (source, f"image/{kind}", 4_800, 5_000)
    assert check_stored(source) == kept, "it is described as it is stored"


def test_a_paid_image_that_takes_too_long_is_kept_as_it_came() -> None:
    source = _scans(10_000)
    kept = check_output(source, "jpeg", limits=ChildLimits(1024 * MIB, seconds=1))
    assert (kept.content, kept.media_type) == (source, "image/jpeg")


def test_a_large_answer_is_converted_in_a_child_and_a_broken_one_is_unavailable() -> None:
    source = picture("webp", size=(4_000, 4_000))
    made = check_output(source, "png")
    assert (made.media_type, made.width, made.height) == ("image/png", 4_000, 4_000)
    with Image.open(io.BytesIO(made.content)) as image:
        assert image.size == (4_000, 4_000)
    with pytest.raises(Unavailable, match="an image is unusable"):
        check_output(source[: len(source) // 2], "png")


def test_a_large_answer_in_the_asked_format_is_passed_on_byte_for_byte() -> None:
    source = picture("webp", size=(4_000, 4_000))
    assert check_output(source, "webp").content is source


def test_a_child_gets_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of Python's own would stop the child before its first line, if it were inherited."""
    monkeypatch.setenv("PYTHONPATH", os.fspath(Path(__file__).parent / "nowhere"))
    monkeypatch.setenv("PYTHONSTARTUP", "/nowhere")
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    assert prepare_input(picture("webp", size=(2_400, 2_400))).width == 2_400


def test_a_paid_image_does_not_wait_for_the_child_of_an_input() -> None:
    with INPUT_CHILD.of(1):
        assert check_output(picture("webp", size=(4_000, 4_000)), "png").width == 4_000
