"""What authenticates the calls of a deployment: the key that the catalog names, or an Entra ID token."""

from __future__ import annotations

from collections.abc import Callable

from imagequeue.domain.catalog import Catalog, Deployment
from imagequeue.providers.entra import EntraTokens


class Credentials:
    """The secrets of all deployments, as the catalog has them now. Shared by threads."""

    def __init__(self, catalog: Callable[[], Catalog], entra: EntraTokens | None = None) -> None:
        self._catalog = catalog
        self._entra = entra or EntraTokens()

    def __call__(self, deployment: Deployment) -> str:
        """The secret of one deployment.

        Raises:
            Misconfigured: there is no token to be had.
        """
        return self._catalog().secret(deployment) if deployment.auth == "key" else self._entra.token()
