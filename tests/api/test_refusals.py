"""Every refusal as a client meets it: status, envelope, and whether to try again.

Source: docs/design/contract.md, "Errors".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from tests.api.service import BODY, ROUTE, Client, serving, title_and_message
from tests.builders import MODEL

MOST_BYTES = 2048
KEYED = {"Idempotency-Key": "one"}
STRANGE = f"/v2/requests/{MODEL}_0198f0a0-0000-7000-8000-000000000000"


def _raw(client: Client, content: bytes | str, **headers: str) -> httpx.Response:
    given = {"content-type": "application/json"} | {name.replace("_", "-"): headers[name] for name in headers}
    return client.http.post(ROUTE, content=content, headers=given)


def _as(client: Client, key: str) -> httpx.Response:
    return client.http.get("/v2/wallet", headers={"Ocp-Apim-Subscription-Key": key})


def _revoked(client: Client) -> httpx.Response:
    other = client.service.client("other")
    with client.service.engine.begin() as connection:
        connection.execute(
            text("UPDATE api_keys SET revoked_at = clock_timestamp() WHERE id = :id"), {"id": other.key_id}
        )
    return _as(client, other.key)


def _poor(client: Client) -> httpx.Response:
    return client.service.client("poor", funds="0").generate()


def _hurried(client: Client) -> httpx.Response:
    hurried = client.service.client("hurried", rpm=1)
    hurried.generate()
    return hurried.generate()


def _under_one_key(client: Client) -> httpx.Response:
    client.generate(headers=KEYED)
    return client.generate(headers=KEYED, prompt="another one")


def _cancelled_twice(client: Client) -> httpx.Response:
    path = f"/v2/requests/{client.generate().json()['request_id']}/cancel"
    client.http.post(path)
    return client.http.post(path)


def _too_long(client: Client) -> httpx.Response:
    return client.generate(prompt="a" * MOST_BYTES)


def _broken(client: Client) -> httpx.Response:
    """A table is missing: what nobody expects."""
    with client.service.engine.begin() as connection:
        connection.execute(text("ALTER TABLE wallets RENAME TO wallets_gone"))
    return client.http.get("/v2/wallet")


@dataclass(frozen=True)
class Refusal:
    """What is asked, and what the answer must say."""

    ask: Callable[[Client], httpx.Response]
    status: int
    title: str
    says: str
    repeatable: bool = False


REFUSALS = {
    "unknown model": Refusal(lambda c: c.generate("/no/v1/no-request"), 400, "Model not found", "'no'"),
    "disabled model": Refusal(
        lambda c: c.generate("/disabled-model/v1/disabled-model-request"),
        400,
        "Model not found",
        "'disabled-model'",
    ),
    "not JSON": Refusal(lambda c: _raw(c, "{"), 400, "Bad Request", "JSON"),
    "not UTF-8": Refusal(lambda c: _raw(c, b'{"prompt": "\xff\xfe"}'), 400, "Bad Request", "JSON"),
    "no object": Refusal(lambda c: _raw(c, "[]"), 400, "Bad Request", "object"),
    "no prompt": Refusal(lambda c: _raw(c, "{}"), 400, "Bad Request", "prompt"),
    "half a character": Refusal(
        lambda c: _raw(c, json.dumps({"prompt": "abc\ud800"})), 400, "Bad Request", "prompt"
    ),
    "unknown field": Refusal(lambda c: c.generate(colour="red"), 400, "Bad Request", "'colour'"),
    "field out of range": Refusal(lambda c: c.generate(num_images=5), 400, "Bad Request", "num_images"),
    "wrong header": Refusal(lambda c: c.generate(headers={"X-Lane": "x"}), 400, "Bad Request", "X-Lane"),
    "refused address": Refusal(
        lambda c: c.generate(headers={"X-Webhook-URL": "http://127.0.0.1"}),
        400,
        "Bad Request",
        "X-Webhook-URL",
    ),
    "wrong parameter": Refusal(
        lambda c: c.http.get("/v2/requests", params={"limit": 0}), 400, "Bad Request", "limit"
    ),
    "no key": Refusal(lambda c: httpx.post(c.service.url + ROUTE, json=BODY), 401, "Unauthorized", "key"),
    "unknown key": Refusal(lambda c: _as(c, "iq_0123456789abcdef_" + "a" * 43), 401, "Unauthorized", "key"),
    "empty wallet": Refusal(_poor, 402, "Insufficient Balance", "balance"),
    "revoked key": Refusal(_revoked, 403, "Forbidden", "revoked"),
    "no operator": Refusal(lambda c: c.http.get("/metrics"), 403, "Forbidden", "--operator"),
    "no such job": Refusal(lambda c: c.http.get(STRANGE + "/attempts"), 404, "Not Found", MODEL),
    "no such path": Refusal(lambda c: c.http.get("/nowhere"), 404, "Not Found", "/nowhere"),
    "two models": Refusal(lambda c: c.generate(f"/{MODEL}/v1/x-request"), 404, "Not Found", "twice"),
    "wrong method": Refusal(lambda c: c.http.put("/v2/wallet"), 405, "Method Not Allowed", "PUT"),
    "final already": Refusal(_cancelled_twice, 409, "Conflict", "final"),
    "too large": Refusal(_too_long, 413, "Content Too Large", str(MOST_BYTES)),
    "no JSON by its type": Refusal(
        lambda c: _raw(c, "{}", content_type="text/plain"), 415, "Unsupported Media Type", "Content-Type"
    ),
    "compressed": Refusal(
        lambda c: _raw(c, "{}", content_encoding="gzip"), 415, "Unsupported Media Type", "Content-Encoding"
    ),
    "another body": Refusal(_under_one_key, 422, "Unprocessable Content", "Idempotency-Key"),
    "too many": Refusal(_hurried, 429, "Too Many Requests", "1 requests a minute", repeatable=True),
    "unexpected": Refusal(_broken, 500, "Internal Server Error", "on our side", repeatable=True),
}
"""503 is met in test_outage.py and test_listing.py."""


@pytest.fixture
def client(engine: Engine, database_url: str, redis_url: str) -> Iterator[Client]:
    redis = SecretStr(redis_url)
    with serving(engine, database_url, max_body_bytes=MOST_BYTES, redis_url=redis) as service:
        yield service.client()


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
def test_a_refusal_is_what_the_contract_says(client: Client, refusal: Refusal) -> None:
    answer = refusal.ask(client)
    title, message = title_and_message(answer)
    assert (answer.status_code, title) == (refusal.status, refusal.title)
    assert refusal.says in message
    assert answer.headers["content-type"] == "application/json"
    assert (answer.headers.get("x-should-retry") == "false") is not refusal.repeatable
    if refusal.status == 429:
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
    if refusal.status == 401:
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    if refusal.status == 405:
        assert answer.headers["Allow"] == "GET"
    if refusal.status == 500:
        assert "wallets" not in answer.text


def test_the_table_has_every_status_of_the_contract_that_one_answer_can_have() -> None:
    met = {refusal.status for refusal in REFUSALS.values()}
    assert met == {400, 401, 402, 403, 404, 405, 409, 413, 415, 422, 429, 500}
