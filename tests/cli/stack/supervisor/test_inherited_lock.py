"""The lock that a process's descendants hold with it."""

import subprocess
from pathlib import Path

import pytest

from cli.stack.supervisor.errors import DirectoryInUse
from cli.stack.supervisor.inherited_lock import acquire, holding


def test_a_child_that_inherited_the_lock_holds_it_until_it_ends(tmp_path: Path) -> None:
    with holding(tmp_path / "lock") as held:
        child = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, pass_fds=[held])
    with pytest.raises(DirectoryInUse):
        acquire(tmp_path / "lock", 0)
    with pytest.raises(DirectoryInUse):
        acquire(tmp_path / "lock", 0.05)
    child.communicate(timeout=120)
    with holding(tmp_path / "lock", 20):
        pass


def test_a_wait_that_was_given_up_does_not_take_the_lock_later(tmp_path: Path) -> None:
    with holding(tmp_path / "lock"), pytest.raises(DirectoryInUse):
        acquire(tmp_path / "lock", 0.05)
    for _ in range(3):
        with holding(tmp_path / "lock", 20):
            pass


def test_the_wait_ends_with_the_holder(tmp_path: Path) -> None:
    with holding(tmp_path / "lock") as held:
        child = subprocess.Popen(["/bin/sleep", "0.3"], pass_fds=[held])
    with holding(tmp_path / "lock", 20):
        assert child.wait(120) == 0
