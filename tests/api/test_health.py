"""When the API says that it is ready."""

from __future__ import annotations

import httpx
from sqlalchemy import URL

from imagequeue.store.database import open_engine
from tests.api.service import BODY, ROUTE, Service, serving
from tests.loopback import NO_TLS


def test_readiness_does_not_need_redis(service: Service) -> None:
    assert httpx.get(service.url + "/readyz", verify=NO_TLS).json() == {"status": "ready"}


def test_a_schema_that_is_missing_is_not_ready(database_url: str, postgres_url: URL) -> None:
    empty = postgres_url.render_as_string(hide_password=False)
    engine = open_engine(empty, pool_size=2, name="tests")
    with serving(engine, database_url) as service:
        answer = httpx.post(
            service.url + ROUTE,
            json=BODY,
            headers={"api-key": "iq_0123456789abcdef_" + "a" * 43},
            verify=NO_TLS,
        )
        assert answer.status_code == 500
        assert httpx.get(service.url + "/readyz", verify=NO_TLS).status_code == 500
    engine.dispose()
