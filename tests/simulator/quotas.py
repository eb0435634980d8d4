"""What the simulator counted of a quota."""

from collections.abc import Callable
from typing import Any

import httpx

Entries = Callable[..., list[dict[str, Any]]]


def quota(client: httpx.Client, name: str, **query: Any) -> dict[str, Any]:
    """The report of one quota, by its name."""
    reports = client.get("/_sim/quota", params=query).json()["quotas"]
    return next(report for report in reports if report["quota"] == name)
