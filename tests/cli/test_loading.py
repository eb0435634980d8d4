"""What is imported for a command is not collected, and what the command makes is."""

import gc

import pytest

from cli.loading import loading


def test_no_garbage_is_looked_for_while_a_program_is_imported_and_then_it_is() -> None:
    with loading():
        assert not gc.isenabled()
        held: list[list[int]] = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= len(held)
    gc.unfreeze()


def test_garbage_is_looked_for_again_when_an_import_fails() -> None:
    with pytest.raises(ModuleNotFoundError), loading():
        raise ModuleNotFoundError
    assert gc.isenabled()
    gc.unfreeze()
