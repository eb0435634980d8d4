"""Who may ask, and for what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from api.auth import REMEMBERED_SECONDS, KeyCache
from imagequeue.lifecycle.operate.accounts import KeyTerms, add_key, revoke_key
from imagequeue.signing import Keyring
from tests.api.service import BODY, ROUTE, Client, Service, serving, title_and_message
from tests.builders import SECRET_KEY
from tests.loopback import NO_TLS

Header = Callable[[str], dict[str, str]]


def pixazo(key: str) -> dict[str, str]:
    return {"Ocp-Apim-Subscription-Key": key}


def azure(key: str) -> dict[str, str]:
    return {"api-key": key}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}".strip()}


def careless_bearer(key: str) -> dict[str, str]:
    return {"authorization": f"bearer  {key}".strip()}


HEADERS = [pixazo, azure, bearer, careless_bearer]


@pytest.mark.parametrize("header", HEADERS)
def test_a_key_in_any_of_the_headers(service: Service, client: Client, header: Header) -> None:
    answer = httpx.post(service.url + ROUTE, json=BODY, headers=header(client.key), verify=NO_TLS)
    assert answer.status_code == 202


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize(
    "wrong", ["", "nonsense", "iq_0123456789abcdef_" + "a" * 43, "{key}x", "{lookup}" + "a" * 43]
)
def test_a_key_that_nobody_has_is_401(service: Service, client: Client, header: Header, wrong: str) -> None:
    key = wrong.format(key=client.key, lookup=client.key[:20])
    answer = httpx.post(service.url + ROUTE, json=BODY, headers=header(key), verify=NO_TLS)
    assert answer.status_code == 401
    assert title_and_message(answer)[0] == "Unauthorized"
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert service.rows()["jobs"] == 0


@pytest.mark.parametrize(
    "path",
    [
        "/v2/requests",
        "/v2/wallet",
        "/v2/requests/status/x",
        "/v2/requests/x/attempts",
        "/v2/requests/x/events",
        "/v1/models",
    ],
)
def test_reading_needs_a_key(service: Service, path: str) -> None:
    answer = httpx.get(service.url + path, verify=NO_TLS)
    assert answer.status_code == 401
    assert answer.headers["x-should-retry"] == "false"


def test_a_revoked_key_is_403_within_a_second(service: Service, client: Client) -> None:
    seconds = 0.0
    service.app.state.key_cache = KeyCache(lambda: seconds)
    assert client.generate().status_code == 202
    revoke_key(service.engine, client.key_id)
    assert client.generate().status_code == 202, "it is remembered, and was not looked up again"
    rows = service.rows()
    assert REMEMBERED_SECONDS <= 1.0
    seconds += REMEMBERED_SECONDS
    answer = client.generate()
    assert answer.status_code == 403
    assert title_and_message(answer) == ("Forbidden", "This API key was revoked.")
    assert service.rows() == rows


def test_a_new_key_works_at_once(service: Service, client: Client) -> None:
    fresh = add_key(service.engine, Keyring(SECRET_KEY), "client", "second", KeyTerms())
    client.http.headers["Ocp-Apim-Subscription-Key"] = fresh.key
    assert client.generate().status_code == 202


def test_a_limited_key_is_told_when_to_come_back(engine: Any, database_url: str, redis_url: str) -> None:
    with serving(engine, database_url, redis_url=SecretStr(redis_url)) as service:
        limited, free = service.client("limited", rpm=3), service.client("free")
        answers = [limited.generate() for _ in range(4)]
        assert [answer.status_code for answer in answers] == [202, 202, 202, 429]
        assert 1 <= int(answers[3].headers["Retry-After"]) <= 20
        assert "x-should-retry" not in answers[3].headers
        assert title_and_message(answers[3])[0] == "Too Many Requests"
        assert {answer.headers["RateLimit-Policy"] for answer in answers} == {'"key";q=3;w=60'}
        left = [answer.headers["RateLimit"].partition(";t=") for answer in answers]
        assert [remaining for remaining, _, _ in left] == ['"key";r=2', '"key";r=1', '"key";r=0', '"key";r=0']
        assert left[3][2] == answers[3].headers["Retry-After"]
        assert all(1 <= int(seconds) <= 20 for _, _, seconds in left), "one of three in a minute"
        refused = service.client("refused", rpm=3).generate(prompt="")
        assert (refused.status_code, refused.headers["RateLimit"].partition(";t=")[0]) == (400, '"key";r=2')
        assert "RateLimit" not in free.generate().headers
        assert limited.http.get("/v2/requests").status_code == 429
        assert limited.status(answers[0].json()["request_id"]).status_code == 200


def test_without_redis_nothing_is_limited(service: Service) -> None:
    limited = service.client("limited", rpm=1)
    answers = [limited.generate() for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 202]
    assert not any("RateLimit" in answer.headers for answer in answers)
