"""Routing: refuse a submit that no deployment of its model can serve.

Source: docs/design/protocols.md, "Routing".
"""

from __future__ import annotations

from imagequeue.domain.catalog import Catalog, Deployment
from imagequeue.domain.errors import InvalidRequest
from imagequeue.domain.images import Requirement
from imagequeue.providers.registry import PROVIDERS


def require_route(catalog: Catalog, model_id: str, requirement: Requirement) -> None:
    """Make sure that some deployment can serve the requirement.

    Raises:
        UnknownModel: the model is not in the catalog, or it is disabled.
        InvalidRequest: the model does not have the operation, or every deployment says why it cannot.
    """
    model = catalog.model(model_id)
    if requirement.operation not in model.operations:
        raise InvalidRequest(f"Model '{model.id}' does not {requirement.operation} images")
    reasons = [refusal(deployment, requirement) for deployment in catalog.deployments_of(model.id)]
    if not reasons:
        raise InvalidRequest(f"Model '{model.id}' has no deployment")
    if None not in reasons:
        distinct = dict.fromkeys(reason for reason in reasons if reason)
        raise InvalidRequest(f"No deployment can serve this request: {'; '.join(distinct)}")


def refusal(deployment: Deployment, requirement: Requirement) -> str | None:
    """Why this deployment cannot serve the requirement; None: it can."""
    return PROVIDERS[deployment.provider].refusal(requirement, deployment)
