"""Tiers: how many requests a minute Foundry allows for a model, by its document."""

from __future__ import annotations

from collections.abc import Iterable

FOUNDRY_RPM_BY_TIER: dict[str, tuple[int, int, int, int, int, int]] = {
    "mai-image-2.5-flash": (2, 4, 6, 8, 10, 12),
    "mai-image-2.5": (2, 4, 6, 8, 10, 12),
    "mai-image-2e": (18, 30, 60, 90, 120, 180),
    "mai-image-2": (9, 15, 30, 45, 60, 90),
}
"""Requests per minute for tiers 1 to 6 (the Foundry document, "API quotas and limits"). Tier 0 has none."""


def rpm_of_tier(names: Iterable[str], tier: int | None) -> int | None:
    """Requests per minute in tier 1 to 6, for the first name that the table has; None when it has none."""
    row = next((FOUNDRY_RPM_BY_TIER[key] for key in map(_key, names) if key in FOUNDRY_RPM_BY_TIER), None)
    return row[tier - 1] if row and tier else None


def _key(name: str) -> str:
    """`microsoft/MAI-Image-2.5` and `microsoft-mai-image-2-5` are `mai-image-2.5` in the table."""
    return name.casefold().rpartition("/")[2].removeprefix("microsoft-").replace("2-5", "2.5")
