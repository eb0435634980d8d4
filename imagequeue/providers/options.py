"""Options that only some upstreams take. An adapter sends what its upstream takes and omits the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagequeue.domain.catalog import Deployment

TOKEN_OPTIONS = ("temperature", "max_tokens", "max_completion_tokens")
"""Taken by AIML API and OpenRouter (their parameter tables)."""


def present(options: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The given options that have one of these names."""
    return {name: options[name] for name in names if options.get(name) is not None}


def among(options: Mapping[str, Any], accepted: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """The options whose value the upstream accepts: for any other value it would refuse the request."""
    return {name: options[name] for name, values in accepted.items() if options.get(name) in values}


def accepted(fields: dict[str, Any], deployment: Deployment) -> dict[str, Any]:
    """The fields of a request without those that the deployment's model refuses, by the catalog."""
    return {name: value for name, value in fields.items() if name not in deployment.refused_fields}
