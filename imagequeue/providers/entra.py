"""Entra ID tokens for Foundry deployments with `auth = "entra"`, by the optional package azure-identity.

azure-identity looks for a credential in the environment variables, the workload identity, the managed
identity and the Azure CLI. It caches a token until shortly before it expires, so every call may ask for one.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from imagequeue.domain.upstream import Misconfigured

SCOPE = "https://cognitiveservices.azure.com/.default"
"""What the token is for, from the Foundry document, "Use Microsoft Entra ID authentication"."""


class EntraTokens:
    """Gives bearer tokens. azure-identity is imported when the first one is needed. Safe in threads."""

    def __init__(self, load: Callable[[str], Any] = import_module) -> None:
        self._load = load
        self._provider: Callable[[], str] | None = None

    def token(self) -> str:
        """A valid token.

        Raises:
            Misconfigured: the package is not installed, or it finds no credential that works.
        """
        provider = self._provider = self._provider or self._make_provider()
        try:
            return provider()
        except self._load("azure.core.exceptions").AzureError as error:
            # The library lists every credential that it tried; the first line says what is wrong.
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise Misconfigured(f"no Entra ID token: {reason}") from error

    def _make_provider(self) -> Callable[[], str]:
        try:
            identity = self._load("azure.identity")
        except ImportError:
            raise Misconfigured('auth = "entra" needs the package azure-identity') from None
        return identity.get_bearer_token_provider(identity.DefaultAzureCredential(), SCOPE)
