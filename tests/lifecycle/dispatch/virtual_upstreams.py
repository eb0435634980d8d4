"""Upstreams in virtual time, and catalogs and quota groups for plans without a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from imagequeue.domain.catalog import Catalog, Deployment
from imagequeue.domain.catalog_file import parse_catalog
from imagequeue.domain.quota import GroupState, Quota
from imagequeue.domain.upstream_throttling import Drift
from imagequeue.providers.registry import PROVIDERS
from imagequeue.store.attempts.quota import Group
from tests.builders import MODEL

REQUIREMENT = "generate/auto/1/png/0/4000"


def catalog(deployments: Mapping[str, Mapping[str, Any]]) -> Catalog:
    """One model and its deployments, by name."""
    common: dict[str, Any] = {
        "model": MODEL,
        "provider": "foundry",
        "upstream_model": "mai",
        "endpoint": "http://127.0.0.1:9",
        "key_env": "KEY",
        "rpm": 600,
        "pace": False,
        "guard_ms": 0,
        "cold_start": "fresh",
    }
    entries = [{"name": name} | common | dict(given) for name, given in deployments.items()]
    models = [{"id": MODEL, "price_usd": "0.05"}]
    return parse_catalog({"models": models, "deployments": entries}, {"KEY": "k"}, PROVIDERS)


def group(name: str, rule: Quota, state: GroupState) -> Group:
    """A quota group as the database would show it."""
    return Group(
        name=name,
        rpm=rule.rpm,
        catalog_guard=rule.guard,
        quota=rule,
        state=state,
        drift=Drift(rule.rpm),
        out=0,
        out_of_quota=state.probing,
        throttled=0,
        throttled_in_a_row=0,
        drifts=0,
        reason=None,
    )


@dataclass
class Upstream:
    """A deployment in virtual time, with what the service knows of it."""

    deployment: Deployment
    down: Sequence[tuple[float, float]]
    latency: float = 0.5
    returns: list[float] = field(default_factory=list[float])
    last_start: float | None = None
    failures: int = 0
    opened_at: float | None = None
    blocked_until: float = 0.0
    probes: int = 0
    in_flight: int = 0
    idle_since: float = 0.0

    def is_down(self, now: float) -> bool:
        """Whether every call fails now."""
        return any(begin <= now < end for begin, end in self.down)

    def idle_for(self, now: float) -> float:
        """For how many seconds it has been able to serve a job, and had nothing to do."""
        since = max([self.idle_since, *(end for _, end in self.down if end <= now)])
        return 0.0 if self.in_flight or self.is_down(now) else now - since
