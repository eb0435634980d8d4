"""The tour: every upstream serves at least one job of the demo."""

from __future__ import annotations

from pathlib import Path

from cli.demo import tour
from cli.stack_hooks import simulator_catalog


def test_the_tour_comes_by_every_upstream(tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.toml"
    catalog.write_text(simulator_catalog("http://127.0.0.1:1"))
    every = tour.stops(catalog)
    editing = {"foundry-eastus", "foundry-westus", "omixa", "pixazo", "openrouter"}
    assert every == {("edit", name) for name in editing} | {("generate", name) for name in {*editing, "aiml"}}
    orders = list(tour.round_of(1, every, every))
    assert [order.edit for order in orders] == [False] * 6 + [True] * 5
    assert [order.edit for order in tour.round_of(2, every, {("edit", "omixa")})] == [True] * 10
    assert not list(tour.round_of(1, every, set()))
