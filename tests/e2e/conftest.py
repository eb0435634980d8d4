"""One stack for the tests that leave it as it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.live import LiveStack


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    """A running stack with the built-in catalog."""
    with LiveStack(tmp_path_factory.mktemp("stack") / "data") as running:
        yield running
