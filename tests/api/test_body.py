"""Bodies of requests: JSON objects of the right type and size, or refused."""

from __future__ import annotations

import json

import pytest

from tests.api.service import BODY, ROUTE, Client, title_and_message

NOTHING = {"jobs": 0, "job_requests": 0, "events": 0, "ledger_entries": 1, "idempotency_keys": 0}
"""Only the deposit."""


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"prompt",
        b"[]",
        b'"text"',
        b"null",
        b'{"prompt": NaN}',
        b"\xff\xfe\xfd",
        b"[" * 100_000,
        b"1" * 5000,
        b'{"prompt": "\\ud800\\ud800\\ud800"}',
    ],
)
def test_a_body_that_is_no_json_object_is_refused(client: Client, content: bytes) -> None:
    answer = client.http.post(ROUTE, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert title_and_message(answer)[0] == "Bad Request"
    assert client.service.rows() == NOTHING


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Content-Type", "text/plain"),
        ("Content-Type", "multipart/form-data; boundary=x"),
        ("Content-Encoding", "gzip"),
    ],
)
def test_other_content_types_are_415(client: Client, name: str, value: str) -> None:
    headers = {"Content-Type": "application/json", name: value}
    answer = client.http.post(ROUTE, content=json.dumps(BODY), headers=headers)
    assert answer.status_code == 415
    assert name in title_and_message(answer)[1]


@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_over_the_limit_is_413(client: Client, chunked: bool) -> None:  # noqa: FBT001
    most = client.service.runtime.settings.max_body_bytes
    parts = [b'{"prompt": "', b"a" * most, b'"}']
    answer = client.http.post(
        ROUTE,
        content=iter(parts) if chunked else b"".join(parts),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 413
    assert str(most) in title_and_message(answer)[1]
    assert client.service.rows() == NOTHING


@pytest.mark.parametrize("content", ['{"prompt": "a", "prompt": "a"}', '{"prompt": {"a": 1, "a": 1}}'])
def test_a_field_that_is_given_twice_is_refused_by_its_name(client: Client, content: str) -> None:
    answer = client.http.post(ROUTE, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert "was given more than once" in title_and_message(answer)[1]
    assert client.service.rows() == NOTHING
