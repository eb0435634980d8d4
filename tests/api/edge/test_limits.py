"""The bounds of the edge, as an operator sets them."""

from __future__ import annotations

import pytest

from api.edge.limits import MIB, EdgeLimits
from tests.api.edge.serving import NO_DATABASE
from tests.builders import settings


@pytest.mark.parametrize(("files", "connections"), [(None, 5000), (65_536, 5000), (1024, 512)])
def test_connections_leave_files_for_bodies_and_the_database(files: int | None, connections: int) -> None:
    own = settings(NO_DATABASE, max_connections=5000, max_connections_per_address=7, max_body_bytes=20 * MIB)
    limits = EdgeLimits.of(own, files)
    assert (limits.connections, limits.connections_per_address) == (connections, 7)
    assert limits.drained_bytes == 40 * MIB


def test_a_body_that_the_kernels_may_hold_is_drained_however_small_the_largest_one_is() -> None:
    own = settings(NO_DATABASE, max_body_bytes=2048)
    assert EdgeLimits.of(own).drained_bytes == 8 * MIB
