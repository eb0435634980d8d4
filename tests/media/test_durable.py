"""Folders of images: for the user of the process alone, wherever they are."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagequeue.media.local import LocalStorage
from imagequeue.media.spill import Spill


@pytest.fixture(autouse=True)
def careless_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def stored(folder: Path) -> None:
    LocalStorage(folder).put("v1/a/b.png", b"image", "image/png")


def checked(folder: Path) -> None:
    LocalStorage(folder).check_room()


def uploaded(folder: Path) -> None:
    with LocalStorage(folder).upload("v1/a/b.png", "image/png") as upload:
        upload.write(b"image")


def spilled(folder: Path) -> None:
    Spill(folder).put("v1/a/b.png", b"image", "image/png")


def measured(folder: Path) -> None:
    Spill(folder).free_bytes()


@pytest.mark.parametrize("use", [stored, checked, uploaded, spilled, measured], ids=lambda one: one.__name__)
def test_folders_below_an_open_one_are_private_and_the_open_one_stays_as_it_is(
    tmp_path: Path, use: Callable[[Path], None]
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    use(shared / "one" / "two")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [shared, *shared.rglob("*")]}
    assert modes.pop("shared") == 0o755
    assert {mode for name, mode in modes.items() if "." not in name} == {0o700}
    assert not any(mode & 0o077 for mode in modes.values())
