"""Every submit row of the sample is refused, as a webhook and as an input image, and costs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.api.service import Client, serving
from tests.builders import MODEL
from tests.egress.corpus import rows

EDIT = f"/{MODEL}-edit/v1/{MODEL}-edit-request"
URLS = [row.text for row in rows() if row.refused_at == "submit" and not row.text.startswith("@")]


@pytest.fixture
def client(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Client]:
    """A client of the service whose own host the sample names."""
    media, own = f"file://{tmp_path}/media", "https://gateway.example-self.com"
    with serving(engine, database_url, storage_url=media, public_url=own) as service:
        yield service.client()


def test_every_submit_row_is_refused_before_anything_is_charged(client: Client) -> None:
    before, wallet = client.service.rows(), client.wallet()
    for url in URLS:
        answer = client.http.post(EDIT, json={"prompt": "make it blue", "image_urls": [url]})
        assert answer.status_code == 400, ascii(url)
        if _fits_a_header(url):
            answer = client.generate(headers={"X-Webhook-URL": url})
            assert answer.status_code == 400, ascii(url)
    assert (client.service.rows(), client.wallet()) == (before, wallet)


def test_most_rows_can_be_sent_as_a_header() -> None:
    assert sum(map(_fits_a_header, URLS)) > 80


@pytest.mark.parametrize("second", ["https://hooks.example.com/", "https://other.example.com/"])
def test_two_webhook_urls_are_refused(client: Client, second: str) -> None:
    headers = [("X-Webhook-URL", "https://hooks.example.com/"), ("X-Webhook-URL", second)]
    before = client.service.rows()
    assert (
        client.http.post(EDIT.replace("-edit", ""), json={"prompt": "x"}, headers=headers).status_code == 400
    )
    assert client.service.rows() == before


def _fits_a_header(url: str) -> bool:
    """HTTP clients send no control characters, and only ASCII."""
    return url.isascii() and url.isprintable() and url == url.strip()
