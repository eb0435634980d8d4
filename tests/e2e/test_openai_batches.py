"""Batches with the released `openai` package, from an upload to its results, on a running stack."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from openai import OpenAI
from openai.types import Batch

from tests.e2e.live import LiveStack
from tests.e2e.openai_client import NAME, REFUSED, openai_client

pytestmark = pytest.mark.long

ENDED = {"completed", "failed", "expired", "cancelled"}
MOST_LOOKS = 240
URL = "/v1/images/generations"
_PAUSE = threading.Event()  # never set: a client looks twice a second


@pytest.fixture(scope="module")
def client(stack: LiveStack) -> Iterator[OpenAI]:
    """A client as a program would make it."""
    with openai_client(stack) as made:
        yield made


def line(custom_id: str, prompt: str = "a lighthouse", **more: Any) -> str:
    """A line of a file."""
    body = {"model": NAME, "prompt": prompt, **more}
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": URL, "body": body})


def created(client: OpenAI, lines: list[str], **more: Any) -> Batch:
    """A batch of these lines."""
    file = client.files.create(file=("lines.jsonl", "\n".join(lines).encode()), purpose="batch")
    return client.batches.create(
        input_file_id=file.id, endpoint="/v1/images/generations", completion_window="24h", **more
    )


def ended(client: OpenAI, batch_id: str) -> Batch:
    """The batch once it has ended."""
    for _ in range(MOST_LOOKS):
        batch = client.batches.retrieve(batch_id)
        if batch.status in ENDED:
            return batch
        _PAUSE.wait(0.5)
    raise AssertionError("the batch has not ended")


def results(client: OpenAI, file_id: str | None) -> dict[str, Any]:
    """The lines of a file by their custom_id."""
    assert file_id is not None
    return {
        (one := json.loads(text))["custom_id"]: one
        for text in client.files.content(file_id).text.splitlines()
    }


def test_a_batch_brings_every_line_in_one_of_its_files(client: OpenAI, stack: LiveStack) -> None:
    lines = [line("good-1"), line("refused", REFUSED), line("good-2", n=2)]
    batch = ended(client, created(client, lines, metadata={"team": "a"}).id)
    assert (batch.status, batch.metadata, batch.errors) == ("completed", {"team": "a"}, None)
    assert batch.request_counts is not None
    counts = (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed)
    assert counts == (3, 2, 1)
    output, errors = results(client, batch.output_file_id), results(client, batch.error_file_id)
    assert (set(output), set(errors)) == ({"good-1", "good-2"}, {"refused"})
    images = output["good-2"]["response"]["body"]["data"]
    assert [stack.client.get(image["url"]).headers["content-type"] for image in images] == ["image/png"] * 2
    assert errors["refused"]["error"]["code"] == "refused"
    assert errors["refused"]["response"]["status_code"] == 400
    assert batch.id in [one.id for one in client.batches.list(limit=5).data]


def test_a_file_with_mistakes_fails_as_a_whole_and_names_their_lines(
    client: OpenAI, stack: LiveStack
) -> None:
    before = stack.client.get("/v2/wallet").json()
    batch = ended(client, created(client, [line("one"), "{", line("one"), line("x", model="unheard of")]).id)
    assert batch.status == "failed"
    assert batch.errors is not None
    assert batch.errors.data is not None
    assert [error.line for error in batch.errors.data] == [2, 3, 4]
    assert stack.client.get("/v2/wallet").json()["spent"] == before["spent"]


def test_a_batch_that_is_cancelled_says_so_of_each_line_that_did_not_run(client: OpenAI) -> None:
    lines = [line(f"line-{number}") for number in range(500)]
    made = created(client, lines)
    client.batches.cancel(made.id)
    batch = ended(client, made.id)
    assert batch.status == "cancelled"
    assert batch.request_counts is not None
    errors = results(client, batch.error_file_id) if batch.error_file_id else {}
    assert {one["error"]["code"] for one in errors.values()} <= {"batch_cancelled"}
    assert len(errors) + batch.request_counts.completed == batch.request_counts.total
