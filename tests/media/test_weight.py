"""The weight of a picture: to decode and prepare it takes no more memory than was read from its header."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from PIL import Image, ImageCms

from imagequeue.media.weight import MOST_SCANS, has_many_scans, weigh
from tests.media.pictures import encoded, picture

SIDE = 1500
MIB = 1024 * 1024
MEASURING = """
import json, sys
from pathlib import Path
from imagequeue.media.gate import return_memory
from imagequeue.media.images import check_output
from imagequeue.media.inputs import prepare_input, prepare_mask
from imagequeue.media.weight import MOST_SCANS, has_many_scans, weigh

TASKS = {
    "input": (prepare_input, None),
    "mask": (prepare_mask, None),
    "png": (lambda content: check_output(content, "png"), "png"),
    "jpeg": (lambda content: check_output(content, "jpeg"), "jpeg"),
    "webp": (lambda content: check_output(content, "webp"), "webp"),
}

def memory(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":")) * 1024

content, found = Path(sys.argv[1]).read_bytes(), {}
for task, (do, becomes) in TASKS.items():
    return_memory()
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    do(content)
    found[task] = weigh(content, becomes), memory("VmHWM") - before
print(json.dumps(found))
"""
UPSIDE_DOWN = Image.Exif()
UPSIDE_DOWN[0x0112] = 3
PROFILE = ImageCms.ImageCmsProfile(cast("Any", ImageCms.createProfile("sRGB"))).tobytes()  # pyright: ignore[reportUnknownMemberType]
KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "png": ("png", "RGB", {}),
    "png, transparent and turned, with a profile": (
        "png",
        "RGBA",
        {"icc_profile": PROFILE, "exif": UPSIDE_DOWN},
    ),
    "png, one colour transparent": ("png", "RGB", {"transparency": (0, 0, 0)}),
    "png, grey": ("png", "L", {}),
    "png, black and white": ("png", "1", {}),
    "png, sixteen bits": ("png", "I;16", {}),
    "png, palette with a transparent colour": ("png", "P", {"transparency": 0}),
    "gif": ("gif", "P", {}),
    "jpeg": ("jpeg", "RGB", {}),
    "jpeg, turned, with a profile": ("jpeg", "RGB", {"icc_profile": PROFILE, "exif": UPSIDE_DOWN}),
    "jpeg, progressive": ("jpeg", "RGB", {"progressive": True, "subsampling": 0}),
    "jpeg, cmyk": ("jpeg", "CMYK", {}),
    "webp": ("webp", "RGB", {}),
    "webp, transparent and turned, with a profile": (
        "webp",
        "RGBA",
        {"lossless": True, "icc_profile": PROFILE, "exif": UPSIDE_DOWN},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_takes_no_more_memory_than_its_weight(kind: str, tmp_path: Path) -> None:
    file_format, mode, options = KINDS[kind]
    (tmp_path / "picture").write_bytes(encoded(Image.new(mode, (SIDE, SIDE)), file_format, **options))
    command = [sys.executable, "-c", MEASURING, str(tmp_path / "picture")]
    made = subprocess.run(command, check=True, capture_output=True, cwd=Path(__file__).parents[2])
    found = json.loads(made.stdout)
    assert len(found) == 5
    for task, (weight, grown) in found.items():
        assert grown < weight + 6 * MIB, f"{task}: {grown // MIB} MiB, weighed as {weight // MIB}"


def test_what_has_no_header_weighs_nothing() -> None:
    assert weigh(b"The image is being prepared.") == 0
    assert weigh(picture()[:20]) == 0


@pytest.mark.parametrize("between", [2, MIB // 4 - 1, MIB // 4, MIB // 4 + 1])
def test_every_scan_counts_once_wherever_it_begins(between: int) -> None:
    scans = b"\xff\xda".ljust(between, b"\0") * MOST_SCANS
    assert not has_many_scans(b"\xff\xd8" + scans)
    assert has_many_scans(b"\xff\xd8" + scans + b"\xff\xda")
