"""Files that only their owner may read: made once, replaced whole."""

import stat
from pathlib import Path

import pytest

from cli.stack.supervisor import private_file


def test_a_kept_text_is_made_once_and_private(tmp_path: Path) -> None:
    made = iter(["first", "second"])
    path = tmp_path / "key"
    assert [private_file.read_or_make(path, lambda: next(made)) for _ in range(3)] == ["first"] * 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_replacement_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "key"
    private_file.replace(path, "old")
    with pytest.raises(UnicodeEncodeError):
        private_file.replace(path, "\ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
