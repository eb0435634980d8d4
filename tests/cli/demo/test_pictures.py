"""The demo keeps no image that it has not looked at."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from cli.demo import pictures
from cli.demo.errors import DemoFailed
from cli.demo.orders import Order

ORDER = Order("microsoft-mai-image-2-5", "16:9", "a lighthouse")
SIZE = (1360, 768)


def _picture(size: tuple[int, int], kind: str = "PNG") -> bytes:
    content = io.BytesIO()
    Image.new("RGB", size).save(content, kind)
    return content.getvalue()


def test_an_image_of_the_asked_size_is_kept(tmp_path: Path) -> None:
    content = _picture(SIZE)
    assert pictures.save_checked(content, ORDER, tmp_path / "image.png") == SIZE
    assert (tmp_path / "image.png").read_bytes() == content


@pytest.mark.parametrize(
    "content",
    [
        _picture((SIZE[1], SIZE[0])),
        _picture((1024, 1024)),
        _picture(SIZE, "JPEG"),
        _picture(SIZE)[:-200],
        b"<html>",
    ],
    ids=["turned", "square", "jpeg", "cut", "page"],
)
def test_anything_else_is_not(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DemoFailed):
        pictures.save_checked(content, ORDER, tmp_path / "image.png")
    assert not list(tmp_path.iterdir())
