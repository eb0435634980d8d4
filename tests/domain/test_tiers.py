"""Tiers: the table of Foundry's document, and who is looked up in it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from imagequeue.domain.errors import ConfigurationError
from imagequeue.domain.tiers import FOUNDRY_RPM_BY_TIER
from tests.domain.catalogs import DEPLOYMENT, MODEL, parsed

# The Foundry document, "API quotas and limits": | Global Standard | tier | 2.5-Flash | 2.5 | 2e | 2 |
DOCUMENT = """
| Global Standard | 1 | 2 | 2 | 18 | 9 |
| Global Standard | 2 | 4 | 4 | 30 | 15 |
| Global Standard | 3 | 6 | 6 | 60 | 30 |
| Global Standard | 4 | 8 | 8 | 90 | 45 |
| Global Standard | 5 | 10 | 10 | 120 | 60 |
| Global Standard | 6 | 12 | 12 | 180 | 90 |
"""
DOCUMENTED = [
    (model, int(tier), int(rpm))
    for tier, *row in (re.findall(r"\d+", line) for line in DOCUMENT.strip().splitlines())
    for model, rpm in zip(
        ("MAI-Image-2.5-Flash", "MAI-Image-2.5", "MAI-Image-2e", "MAI-Image-2"), row, strict=True
    )
]


def _by_tier(model: str, aliases: list[str], upstream_model: str, tier: int) -> int:
    place = {"model": model, "upstream_model": upstream_model, "rpm": None, "tier": tier}
    fields = {key: value for key, value in (DEPLOYMENT | place).items() if value is not None}
    catalog = parsed(models=({**MODEL, "id": model, "aliases": aliases},), deployments=(fields,))
    return catalog.rpm(catalog.deployments[0])


@pytest.mark.parametrize(("model", "tier", "rpm"), DOCUMENTED)
def test_a_tier_is_looked_up_in_the_documents_table(model: str, tier: int, rpm: int) -> None:
    id_ = f"microsoft-{model.lower().replace('.', '-')}"
    assert _by_tier(id_, [], "my-own-name", tier) == rpm
    assert _by_tier("mine", [f"microsoft/{model}"], "my-own-name", tier) == rpm
    assert _by_tier("mine", [], model, tier) == rpm


def test_the_table_is_the_documents() -> None:
    assert {(model, tier) for model, tier, _ in DOCUMENTED} == {
        (model.replace("mai-image", "MAI-Image").replace("flash", "Flash"), tier)
        for model, row in FOUNDRY_RPM_BY_TIER.items()
        for tier in range(1, len(row) + 1)
    }


def test_a_model_without_tiers_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"'east': tier: the documented table does not have"):
        _by_tier("mine", ["an alias"], "my-own-name", 1)


@pytest.mark.parametrize("seed", ["0", "1", "2", "3"])
def test_the_clients_model_decides_on_the_tier_before_the_upstreams_name(seed: str) -> None:
    """At Foundry that is whatever the user called the deployment; and no hash may decide, so: four seeds."""
    code = (
        "from tests.domain.test_tiers import _by_tier\n"
        "print(_by_tier('mine', ['MAI-Image-2'], 'mai-image-2e', 3), "
        "_by_tier('mai-image-2', ['MAI-Image-2e'], 'mai-image-2.5', 3))"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)}
    told = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert told.stdout.split() == ["30", "30"]
