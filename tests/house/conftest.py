"""Forgets the program's syntax trees when the tests of the house are over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.house.program import modules
from tests.house.uses import definitions


@pytest.fixture(scope="package", autouse=True)
def forgets_the_program() -> Iterator[None]:
    """A quarter of a million nodes, through which each collection of a process's garbage would go."""
    yield
    definitions.cache_clear()
    modules.cache_clear()
