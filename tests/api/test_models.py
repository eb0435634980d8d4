"""The models of the catalog, as clients see them."""

from __future__ import annotations

import pytest

from imagequeue.domain.catalog_file import parse_catalog
from imagequeue.providers.registry import PROVIDERS
from tests.api.service import Client, Service


@pytest.mark.parametrize(
    ("price", "shown"),
    [
        ("0.000000001", "0.000000001"),
        ("0.0000001", "0.0000001"),
        ("1000", "1000"),
        ("0.050", "0.05"),
        (0, "0"),
    ],
)
def test_a_price_has_no_exponent(client: Client, service: Service, price: str, shown: str) -> None:
    models = {"models": [{"id": "a-model", "price_usd": price}]}
    service.runtime.catalog = parse_catalog(models, {}, PROVIDERS)
    (model,) = client.http.get("/v1/models").json()["data"]
    assert model["price_usd"] == shown
