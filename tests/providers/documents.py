"""The documents of all upstreams, from the folders of their recordings."""

from __future__ import annotations

from functools import cache
from importlib import import_module

import httpx

from imagequeue.domain.catalog import ProviderName
from imagequeue.domain.images import Requirement
from imagequeue.providers.provider import Call, CallbackProvider
from imagequeue.providers.registry import PROVIDERS
from tests.providers.document import Document


@cache
def document(provider: ProviderName) -> Document:
    """The rules of a provider's upstream."""
    found: object = import_module(f"tests.recordings.{provider}.document").DOCUMENT
    assert isinstance(found, Document)
    return found


def serves(provider: ProviderName, requirement: Requirement) -> bool:
    """Whether the document lets this upstream serve the requirement."""
    return document(provider).serves(requirement)


def check(provider: ProviderName, request: httpx.Request, call: Call) -> None:
    """Fail unless the document of the provider takes this request."""
    request.read()
    assert request.extensions == {}
    assert "x-webhook-url" not in request.headers or isinstance(PROVIDERS[provider], CallbackProvider)
    document(provider).check(request, call)
