"""docs/dialects.md has every field of every dialect, so that a reader finds what it does here."""

from __future__ import annotations

import pytest

from imagequeue.dialects.registry import DIALECTS
from tests.house.checkout import text

PAGE = "docs/dialects.md"
FIELDS = {
    (dialect.name, name)
    for dialect, route in DIALECTS.routes()
    for models in route.bodies.values()
    for model in models
    for name in model.model_fields
}


@pytest.mark.parametrize("name", sorted({dialect for dialect, _ in FIELDS}))
def test_every_field_of_a_dialect_is_explained(name: str) -> None:
    page = text(PAGE)
    assert [field for dialect, field in sorted(FIELDS) if dialect == name and f"`{field}`" not in page] == []
