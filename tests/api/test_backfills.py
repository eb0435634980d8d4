"""Batches at our own door: terms, verbs, lines, results, errors and events."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from imagequeue import backfill_wiring, wiring
from imagequeue.domain.batches import LineState
from imagequeue.domain.ids import new_id
from imagequeue.lifecycle.supervise.supervise import EndFiles
from imagequeue.store.batches.counters import LineChange, move_lines
from tests.api.service import Client, Service
from tests.api.test_batches import order, uploaded
from tests.lines import batch_with_lines


@pytest.fixture
def batch_id(service: Service, client: Client) -> UUID:
    """A batch of the client with five lines that wait."""
    with service.engine.begin() as connection:
        made = batch_with_lines(connection, 5)
        connection.execute(
            text("UPDATE batches SET account_id = :account WHERE id = :id"),
            {"account": client.account_id, "id": made},
        )
    return made


def path(batch_id: UUID, *more: str) -> str:
    return "/".join(("/v2/batches", f"batch_{batch_id.hex}", *more))


def finish(engine: Engine, batch_id: UUID, number: int, code: str) -> None:
    """Let a line that has a job fail, and count it."""
    with engine.begin() as connection:
        for source, target in ((LineState.WAITING, LineState.QUEUED), (LineState.QUEUED, LineState.FAILED)):
            queued = target is LineState.QUEUED
            told = {"job_id": new_id()} if queued else {"error_code": code, "error_message": "no"}
            assert move_lines(connection, [LineChange(batch_id, number, source, target, **told)])  # pyright: ignore[reportArgumentType]


def test_all_terms_of_a_batch_are_taken_and_shown(client: Client) -> None:
    terms = {
        "budget_usd": "12.5",
        "keep_available_usd": 3,
        "weight": 5,
        "max_failure_rate": 0.25,
        "on_unknown": "hold",
        "dedupe": "custom_id",
        "limit": 10,
        "line_webhooks": True,
        "metadata": {"team": "a"},
        "completion_window": "7d",
    }
    made = client.http.post("/v2/batches", json=order(client, endpoint=None) | terms)
    assert made.status_code == 201
    shown = made.json()
    told = {name: shown[name] for name in terms}
    assert told == terms | {"keep_available_usd": "3"}
    assert (shown["status"], shown["counts"]["total"], shown["expires_at"] is None) == (
        "validating",
        0,
        False,
    )
    (listed,) = client.http.get("/v2/batches", params={"state": "validating,paused"}).json()["data"]
    assert listed["id"] == shown["id"]
    assert client.http.get("/v2/batches", params={"state": "completed"}).json()["data"] == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"budget_usd": -1}, "budget_usd"),
        ({"budget_usd": "much"}, "budget_usd"),
        ({"budget_usd": True}, "budget_usd"),
        ({"budget_usd": "NaN"}, "budget_usd"),
        ({"keep_available_usd": "1e20"}, "keep_available_usd"),
        ({"weight": 0}, "weight"),
        ({"weight": 1001}, "weight"),
        ({"max_failure_rate": 1.5}, "max_failure_rate"),
        ({"on_unknown": "guess"}, "on_unknown"),
        ({"dedupe": "all"}, "dedupe"),
        ({"limit": 0}, "limit"),
        ({"line_webhooks": "yes"}, "line_webhooks"),
    ],
)
def test_a_term_that_is_wrong_is_refused_by_its_name(
    client: Client, changes: dict[str, Any], field: str
) -> None:
    answer = client.http.post("/v2/batches", json=order(client) | changes)
    assert (answer.status_code, field in answer.text) == (400, True)


def test_a_batch_is_paused_resumed_and_changed(client: Client, batch_id: UUID) -> None:
    paused = client.http.post(path(batch_id, "pause")).json()
    assert (paused["status"], paused["reasons"]) == ("paused", ["operator"])
    assert any("paused by hand" in why for why in paused["why_not_faster"])
    resumed = client.http.post(path(batch_id, "resume")).json()
    assert (resumed["status"], resumed["reasons"]) == ("in_progress", [])
    changed = client.http.patch(path(batch_id), json={"weight": 7, "budget_usd": "2"}).json()
    assert (changed["weight"], changed["budget_usd"], changed["max_failure_rate"]) == (7, "2", 0.5)
    assert client.http.patch(path(batch_id), json={"budget_usd": None}).json()["budget_usd"] is None
    inside = client.http.patch(path(batch_id), json={"webhook_url": "http://10.0.0.1/"})
    assert (inside.status_code, "webhook_url" in inside.text) == (400, True)
    assert client.http.patch(path(batch_id), json={}).status_code == 400


def test_a_batch_that_is_cancelled_takes_nothing_more(client: Client, batch_id: UUID) -> None:
    assert client.http.post(path(batch_id, "cancel")).json()["status"] == "cancelling"
    assert client.http.post(path(batch_id, "pause")).status_code == 409
    append = client.http.post(path(batch_id, "lines"), json={"input_file_id": uploaded(client)})
    assert append.status_code == 409


def test_lines_are_appended_and_retried(client: Client, service: Service, batch_id: UUID) -> None:
    shown = client.http.post(path(batch_id, "lines"), json={"input_file_id": uploaded(client)}).json()
    assert [part["state"] for part in shown["parts"]] == ["valid", "validating"]
    finish(service.engine, batch_id, 1, "refused")
    assert client.http.post(path(batch_id, "retry"), json={"codes": ["refused"]}).status_code == 200
    assert client.http.post(path(batch_id, "give-up")).status_code == 200


def test_lines_are_read_by_page_state_and_name(client: Client, service: Service, batch_id: UUID) -> None:
    finish(service.engine, batch_id, 2, "refused")
    first = client.http.get(path(batch_id, "lines"), params={"limit": 3}).json()
    assert [line["number"] for line in first["data"]] == [1, 2, 3]
    rest = client.http.get(path(batch_id, "lines"), params={"cursor": first["next_cursor"]}).json()
    assert ([line["number"] for line in rest["data"]], rest["next_cursor"]) == ([4, 5], None)
    (failed,) = client.http.get(path(batch_id, "lines"), params={"state": "failed"}).json()["data"]
    assert failed["error"] == {"code": "refused", "message": "no"}
    (named,) = client.http.get(path(batch_id, "lines"), params={"custom_id": "line-4"}).json()["data"]
    assert (named["number"], named["state"]) == (4, "waiting")
    assert client.http.get(path(batch_id, "lines"), params={"state": "lost"}).status_code == 400


def test_results_go_on_behind_the_last_cursor(client: Client, service: Service, batch_id: UUID) -> None:
    for number in (3, 1, 2):
        finish(service.engine, batch_id, number, "refused")
    found = results(client, batch_id)
    assert [(one["cursor"], one["number"], one["status"]) for one in found] == [
        (1, 3, "failed"),
        (2, 1, "failed"),
        (3, 2, "failed"),
    ]
    assert results(client, batch_id, after=2) == found[2:]
    assert results(client, batch_id, limit=1) == found[:1]
    assert results(client, batch_id, state="completed") == []


def results(client: Client, batch_id: UUID, **query: Any) -> list[Any]:
    answer = client.http.get(path(batch_id, "results"), params=query)
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in answer.text.splitlines()]


def test_errors_are_grouped_by_code(client: Client, service: Service, batch_id: UUID) -> None:
    for number, code in ((1, "refused"), (2, "not_served"), (3, "refused")):
        finish(service.engine, batch_id, number, code)
    assert client.http.get(path(batch_id, "errors")).json()["data"] == [
        {"code": "refused", "count": 2, "message": "no", "first_line": 1, "custom_ids": ["line-1", "line-3"]},
        {"code": "not_served", "count": 1, "message": "no", "first_line": 2, "custom_ids": ["line-2"]},
    ]


def test_events_tell_every_change_until_the_end(client: Client, service: Service, batch_id: UUID) -> None:
    with client.http.stream("GET", path(batch_id, "events")) as answer:
        told = _events(answer.iter_lines())
        assert next(told)["counts"]["failed"] == 0
        finish(service.engine, batch_id, 1, "refused")
        assert next(told)["counts"]["failed"] == 1
        assert client.http.post(path(batch_id, "cancel")).status_code == 200
        assert next(told)["status"] == "cancelling"
        _end(service)
        *_, last = told
    assert (last["status"], last["counts"]["failed"], last["counts"]["cancelled"]) == ("cancelled", 1, 4)
    with client.http.stream("GET", path(batch_id, "events")) as answer:
        assert list(_events(answer.iter_lines())) == [last], "who comes late is told the end, and that is all"


def _end(service: Service) -> None:
    """Do what is to be done with the batches, whose files are taken for written."""
    settlement = wiring.settlement(service.runtime, lambda _: None)
    supervision = backfill_wiring.supervision(service.runtime, settlement, lambda _: EndFiles())
    while supervision.run_once():
        pass


def _events(lines: Iterator[str]) -> Iterator[Any]:
    for line in lines:
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def test_a_dry_run_is_answered_as_an_estimate_and_is_no_batch_of_the_list(client: Client) -> None:
    asked = client.http.post("/v2/batches", json=order(client, endpoint=None) | {"dry_run": True})
    told = asked.json()
    assert (asked.status_code, told["object"], told["status"]) == (202, "estimate", "validating")
    assert client.http.get(f"/v2/batches/{told['id']}/estimate").json() == told
    assert client.http.get("/v2/batches").json()["data"] == []


def test_a_dry_run_that_is_retried_runs_nothing(client: Client, service: Service) -> None:
    asked = client.http.post("/v2/batches", json=order(client, endpoint=None) | {"dry_run": True}).json()
    validation = backfill_wiring.validation(service.runtime, threading.Event())
    while validation.run_once():
        pass
    assert client.http.post(f"/v2/batches/{asked['id']}/retry").json()["status"] == "completed"


def test_an_estimate_says_what_a_file_would_cost_and_runs_nothing(client: Client, service: Service) -> None:
    asked = client.http.post("/v2/batches/estimate", json=order(client, endpoint=None))
    assert (asked.status_code, asked.json()["status"]) == (202, "validating")
    validation = backfill_wiring.validation(service.runtime, threading.Event())
    while validation.run_once():
        pass
    estimate = client.http.get(f"/v2/batches/{asked.json()['id']}/estimate").json()
    told = {name: estimate[name] for name in ("status", "lines", "images", "price_usd", "errors")}
    assert told == {"status": "completed", "lines": 2, "images": 2, "price_usd": "0.078", "errors": []}
    assert client.http.get(path(new_id(), "estimate")).status_code == 404
    assert client.wallet()["held"] == "0"
