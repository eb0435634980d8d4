"""The clients of a run that wait read what a real API answers, in every dialect that they speak."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from chaos.notes import Notes, Reply
from chaos.orders import Destination, Order
from chaos.waiting import WaitingClients
from chaos.waiting_kinds import KINDS, Ending, mark_of
from imagequeue.domain.ids import split_request_id
from imagequeue.domain.jobs import JobStatus
from tests.api.waiting import Waiting, waiting_clients
from tests.eventually import eventually


@pytest.fixture
def served(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Waiting]:
    with waiting_clients(engine, database_url, tmp_path) as waiting:
        yield waiting


def order(number: int, kind: str) -> Order:
    images = min(2, KINDS[kind].most_images)
    key, prompt = f"key {number}", f"a fox of {kind}"
    return Order(number, 0, key, prompt, images, "interactive", False, cancel=False, waiting=kind)


ONE_OF_EACH = [order(number, kind) for number, kind in enumerate(sorted(KINDS))]


class Clients:
    """The clients of some orders at a server, and what they were told."""

    def __init__(self, served: Waiting, orders: Sequence[Order]) -> None:
        self.notes = Notes()
        key = served.http.headers["api-key"]
        destination = Destination(
            str(served.http.base_url), [key], lambda number: f"http://127.0.0.1:1/{number}"
        )
        self.clients = WaitingClients(destination, orders, self.notes)
        self.clients.start()

    def last(self) -> list[Reply]:
        """The answer to each, once all have theirs."""
        assert self.clients.join(120)
        assert self.notes.wrong == []
        return [self.notes.waits[key][-1] for key in sorted(self.notes.waits)]


def test_every_kind_of_client_reads_its_own_images_also_after_it_hung_up(served: Waiting) -> None:
    first, *others = ONE_OF_EACH
    waiting = Clients(served, [replace(first, leaves=0.2), *others])
    eventually(lambda: waiting.notes.repeats)
    while not waiting.clients.join(0.02):  # between two looks for jobs
        served.pipeline.run()
    assert [reply.lost for reply in waiting.notes.waits[first.key]] == ["hung up", None]
    assert len(served.pipeline.rows("SELECT 1 FROM jobs")) == len(KINDS)
    for reply, asked in zip(waiting.last(), ONE_OF_EACH, strict=True):
        assert reply.request_id == waiting.notes.acknowledged[asked.key]
        expected = images(served, reply, asked)
        assert len(expected) == asked.images
        assert reply.ending == Ending("COMPLETED", tuple(expected))


def images(served: Waiting, reply: Reply, asked: Order) -> list[str]:
    """The images of a job, in the form that its client asked for."""
    if asked.waiting == "aiml":
        body = served.http.get(f"/v2/requests/status/{reply.request_id}").json()
        return body["output"]["media_url"]
    job = split_request_id(str(reply.request_id))[1]
    rows = served.pipeline.rows("SELECT job_id, storage_key FROM images ORDER BY ordinal")
    stored = [row.storage_key for row in rows if row.job_id == job]
    return [mark_of(served.pipeline.runtime.storage.get(key)) for key in stored]


def test_every_kind_of_client_is_told_how_its_job_failed(served: Waiting) -> None:
    waiting = Clients(served, ONE_OF_EACH)
    eventually(lambda: len(served.pipeline.rows("SELECT 1 FROM jobs")) == len(KINDS))
    rows = served.pipeline.rows("SELECT job_id, prompt FROM job_requests")
    ends = {JobStatus.FAILED: ("foundry", "openrouter stream", "aiml"), JobStatus.ERROR: KINDS}
    for status, kinds in ends.items():
        prompts = {f"a fox of {kind}" for kind in kinds}
        served.pipeline.settlement.end([row.job_id for row in rows if row.prompt in prompts], status, "no")
    told = {asked.waiting: reply.ending for asked, reply in zip(ONE_OF_EACH, waiting.last(), strict=True)}
    failed = ends[JobStatus.FAILED]
    assert told == {kind: Ending("FAILED" if kind in failed else "ERROR") for kind in KINDS}


def test_clients_whose_run_is_over_wait_no_longer(served: Waiting) -> None:
    waiting = Clients(served, ONE_OF_EACH)
    eventually(lambda: len(served.pipeline.rows("SELECT 1 FROM jobs")) == len(KINDS))
    waiting.clients.stop()
    assert not any(reply.ending for replies in waiting.notes.waits.values() for reply in replies)
