"""Entra ID tokens for Foundry deployments with `auth = "entra"`, by the optional package azure-identity.

The credential is whatever the surroundings have (environment, workload identity, managed identity, Azure
CLI). The library keeps a token until shortly before it expires; asking on every call is meant.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from imagequeue.domain.upstream import Misconfigured

SCOPE = "https://cognitiveservices.azure.com/.default"
"""The Foundry document, "Use Microsoft Entra ID authentication"."""


class EntraTokens:
    """Gives bearer tokens. Nothing is imported before the first one; safe in threads."""

    def __init__(self, load: Callable[[str], Any] = import_module) -> None:
        self._load = load
        self._provider: Callable[[], str] | None = None

    def token(self) -> str:
        """A valid token.

        Raises:
            Misconfigured: the package is not installed, or no credential of the surroundings works.
        """
        provider = self._provider = self._provider or self._made_provider()
        try:
            return provider()
        except self._load("azure.core.exceptions").AzureError as error:
            # The library's text lists what it tried, over many lines; its first says what is wrong.
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise Misconfigured(f"no Entra ID token: {reason}") from error

    def _made_provider(self) -> Callable[[], str]:
        try:
            identity = self._load("azure.identity")
        except ImportError:
            raise Misconfigured('auth = "entra" needs the package azure-identity') from None
        return identity.get_bearer_token_provider(identity.DefaultAzureCredential(), SCOPE)
