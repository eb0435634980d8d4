"""The directory of a stack: private, and of one stack at a time."""

import stat
from pathlib import Path

import pytest

from cli.stack.data_directory import DataDirectory
from cli.stack.supervisor.errors import StackError


def test_an_empty_data_directory_becomes_private(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with DataDirectory(tmp_path).held():
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_a_folder_with_other_things_in_it_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    tmp_path.chmod(0o755)
    with DataDirectory(tmp_path).held():
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_the_folders_of_images_are_private_whatever_is_beside_them(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    for name in ("media", "spill"):
        (tmp_path / name).mkdir(mode=0o755)
    with DataDirectory(tmp_path).held():
        modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("media", "spill")]
    assert modes == [0o700, 0o700]


def test_a_data_directory_is_held_once(tmp_path: Path) -> None:
    first, second = DataDirectory(tmp_path), DataDirectory(tmp_path)
    with first.held(), pytest.raises(StackError, match="already runs on"), second.held():
        pytest.fail("both hold it")
    with second.held():
        assert second.lock_of("api-1").parent.is_dir()
