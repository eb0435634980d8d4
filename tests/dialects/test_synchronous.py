"""What dialects have in common that answer with images: the 202, errors, and images that are not sent."""

from __future__ import annotations

import json

import pytest

from imagequeue.dialects.dialect import ClientRequest
from imagequeue.dialects.synchronous import SynchronousAnswers, refusal_of
from imagequeue.domain.jobs import FINAL, JobStatus
from tests.dialects.examples import NAMES, ORIGIN, dialect_named, view

SYNCHRONOUS = [name for name in NAMES if isinstance(dialect_named(name), SynchronousAnswers)]


def _asked(name: str) -> ClientRequest:
    route = next(route for route in dialect_named(name).routes if route.verb == "submit")
    return ClientRequest(route, {}, {}, {}, ORIGIN)


@pytest.mark.parametrize("status", [status for status in JobStatus if status not in FINAL])
@pytest.mark.parametrize("name", SYNCHRONOUS)
def test_a_job_that_is_not_final_says_where_to_poll(name: str, status: JobStatus) -> None:
    answer = dialect_named(name).render(_asked(name), view(name, {"status": status}))
    body = json.loads(answer.body)
    assert (answer.status, body["status"]) == (202, status)
    assert body["polling_url"] == f"{ORIGIN}/v2/requests/status/{body['request_id']}"


@pytest.mark.parametrize("name", SYNCHRONOUS)
def test_an_image_that_may_not_be_sent_is_named_by_its_url(name: str) -> None:
    job = view(name, {"status": JobStatus.COMPLETED})
    assert f"{ORIGIN}/1.png" in dialect_named(name).render(_asked(name), job).body


def test_a_job_without_a_reason_has_one_all_the_same() -> None:
    for status in (JobStatus.FAILED, JobStatus.ERROR):
        refusal = refusal_of(view("foundry", {"status": status}))
        assert refusal is not None
        assert refusal.message
    assert refusal_of(view("foundry", {"status": JobStatus.COMPLETED})) is None
