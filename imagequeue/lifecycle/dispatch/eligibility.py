"""Eligibility: which deployments can serve a requirement. Answers are remembered: a catalog never changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from imagequeue.domain.catalog import Catalog, Deployment
from imagequeue.domain.fairness import pools
from imagequeue.domain.images import Requirement
from imagequeue.providers.registry import images_per_call


@dataclass(slots=True)
class Eligibility:
    """How many images a call of each deployment may ask for, by requirement.

    `pools` has for each quota group the groups that serve the same models; they share one fair queue.
    `pool_of_model` has them for each model.
    """

    catalog: Catalog
    pools: Mapping[str, frozenset[str]] = field(init=False)
    pool_of_model: Mapping[str, frozenset[str]] = field(init=False)
    _known: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    _image_counts: dict[str, int] = field(default_factory=dict[str, int])
    _serving: dict[tuple[str, str], list[Deployment]] = field(
        default_factory=dict[tuple[str, str], list[Deployment]]
    )

    def __post_init__(self) -> None:
        self.pools = pools((one.group, one.model) for one in self.catalog.deployments)
        self.pool_of_model = {one.model: self.pools[one.group] for one in self.catalog.deployments}

    def images_per_call(self, deployment: Deployment, requirement: str) -> int:
        """How many images one call of a deployment may ask for; 0 when it cannot serve the requirement."""
        key = (deployment.name, requirement)
        if key not in self._known:
            self._known[key] = images_per_call(deployment, Requirement.parse(requirement))
        return self._known[key]

    def images_of_a_job(self, deployment: Deployment, requirement: str) -> int:
        """How many images one call brings at most: a call is for one job."""
        return min(self.images_per_call(deployment, requirement), self.image_count(requirement))

    def image_count(self, requirement: str) -> int:
        """How many images a job of the requirement asks for."""
        if requirement not in self._image_counts:
            self._image_counts[requirement] = Requirement.parse(requirement).image_count
        return self._image_counts[requirement]

    def deployments(self, model_id: str, requirement: str) -> Sequence[Deployment]:
        """The deployments of a model that can serve the requirement, lowest order first."""
        key = (model_id, requirement)
        if key not in self._serving:
            self._serving[key] = [
                one for one in self.catalog.deployments_of(model_id) if self.images_per_call(one, requirement)
            ]
        return self._serving[key]

    def serves(self, deployment: Deployment, model_id: str, requirement: str) -> bool:
        """Whether a deployment is of the model and can serve the requirement."""
        return deployment.model == model_id and self.images_per_call(deployment, requirement) > 0
