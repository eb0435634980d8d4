"""One certificate authority a session."""

from __future__ import annotations

import pytest

from tests.egress.certificates import Authority


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()
