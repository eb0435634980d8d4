"""One run: start everything, let clients work during faults, wait for the end, collect the evidence."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from random import Random
from typing import NamedTuple

import httpx
import psycopg

from chaos.backfill import Backfill, Place
from chaos.backfill_lines import prompts
from chaos.bucket import Bucket
from chaos.evidence import Evidence, read_tables
from chaos.faults import Faults
from chaos.hostile.client import HOSTILE_FUNDS_USD, HostileClient
from chaos.invariants.jobs import FINAL_SECONDS
from chaos.load import Load
from chaos.notes import Notes
from chaos.orders import Destination, Order, orders
from chaos.receiver import Receivers
from chaos.redis_lists import ListSampler
from chaos.stack import Stack
from chaos.upstreams import (
    BACKFILL_DEPLOYMENTS,
    DEPLOYMENTS,
    KEY,
    KEY_VARIABLE,
    MODEL,
    Upstreams,
    catalog,
)
from chaos.waiting import WaitingClients
from chaos.weather import Weather

FUNDS_USD = 10_000
"""For each wallet: more than a run can spend, because 402 is no subject of it."""
JOBS_PER_SECOND = 7.8
"""Two thirds of what the quotas allow, so that a backlog from an outage shrinks again."""
PROBE_SECONDS = 60.0
"""Most that the job may take that is submitted after the run."""
DRAIN_SECONDS = 2400.0
"""Most that the backlog may take after the faults: several times what it takes on two idle cores."""
BACKFILL_SECONDS = 1200.0
"""Most that the backfill may take when its first lines have finished: its downloads, and its retry."""
TROUBLE_SHARE = 0.4
"""Of the run, for which some receivers are in trouble."""
LOOK_SECONDS = 5.0
"""Between two looks at what is still open."""
_OPEN = """
    SELECT (SELECT count(*) FROM jobs WHERE status IN ('QUEUED', 'PROCESSING')),
        (SELECT count(*) FROM deliveries WHERE state = 'PENDING'),
        (SELECT count(*) FROM attempts WHERE finished_at IS NULL),
        (SELECT count(*) FROM batch_lines WHERE state = 'waiting'),
        (SELECT count(*) FROM batches WHERE state NOT IN ('completed', 'failed', 'cancelled', 'expired'))
"""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """A run: its seed, the length of its faults in seconds, and the directory for all that it writes.

    `lines` are those of the backfill.
    """

    seed: int
    seconds: float
    lines: int
    directory: Path

    def orders(self) -> list[Order]:
        """The submits of the clients."""
        count = round(self.seconds * JOBS_PER_SECOND)
        return orders(Random(self.seed), self.seed, count, self.seconds * 0.95)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What runs during a run: the stack, and the servers around it."""

    upstreams: Upstreams
    bucket: Bucket
    receivers: Receivers
    stack: Stack


def run(plan: Plan, say: Say) -> Evidence:
    """Make one run and return its evidence; nothing that it started runs afterwards."""
    with contextlib.ExitStack() as exits:
        upstreams = exits.enter_context(Upstreams(plan.directory, plan.seed))
        bucket = exits.enter_context(Bucket())
        receivers = exits.enter_context(Receivers(plan.seed))
        file = plan.directory / "catalog.toml"
        file.write_text(catalog(upstreams.url))
        stack = Stack(plan.directory, file, _environment(upstreams, bucket, receivers))
        exits.enter_context(stack)
        say(f"ready   {stack.file()['api_url']}, {len(stack.running())} processes")
        return _run(plan, _Parts(upstreams, bucket, receivers, stack), say)


def _run(plan: Plan, parts: _Parts, say: Say) -> Evidence:
    stack, wanted, notes = parts.stack, plan.orders(), Notes()
    clients = _clients(plan, parts, wanted, notes, say)
    faults = Faults(stack, parts.bucket, parts.receivers.main, Random(plan.seed + 1), say)
    weather = Weather(parts.upstreams.url, DEPLOYMENTS, plan.seed, BACKFILL_DEPLOYMENTS)
    lists = ListSampler(lambda: str(stack.file()["redis_url"]))
    lists.begin()
    for client in (clients.load, clients.waiting, clients.hostile):
        client.start()
    with clients.backfill:
        calm_at = _storm(plan, _Storm(weather, faults, parts.receivers, clients.backfill))
        say(f"calm    after {len(faults.done)} faults, {weather.gusts} gusts, {len(weather.spells)} spells")
        drained_at = _end(clients, stack, say)
    lists.end()
    hands = _ask_for_hands(stack, str(stack.file()["api_url"]))
    return Evidence(
        tables=read_tables(str(stack.file()["database_url"])),
        objects={key.removeprefix("run/"): content for key, content in parts.bucket.objects.items()},
        refused_puts=parts.bucket.refused,
        calls=parts.upstreams.calls(),
        receipts=list(parts.receivers.receipts),
        notes=notes,
        orders=wanted,
        backfill=clients.backfill.record,
        faults=faults.done,
        spells=weather.spells,
        lists=lists.samples,
        list_looks=lists.looks,
        lives=list(stack.lives.values()),
        logged=stack.logged(),
        calm_at=calm_at,
        drained_at=drained_at,
        hands=hands,
        hostile=clients.hostile.exchanges,
    )


def _backfill(plan: Plan, parts: _Parts, key: str, say: Say) -> Backfill:
    url = str(parts.stack.file()["api_url"])
    place = Place(url, key, parts.upstreams.url, plan.directory)
    return Backfill(place, prompts(plan.seed, plan.lines), Random(plan.seed + 4), say)


def _environment(upstreams: Upstreams, bucket: Bucket, receivers: Receivers) -> dict[str, str]:
    simulator = upstreams.url.removeprefix("http://")
    return {
        KEY_VARIABLE: KEY,
        "IMAGEQUEUE_STORAGE_URL": "s3://chaos/run",
        "IMAGEQUEUE_S3_ENDPOINT_URL": bucket.url,
        "IMAGEQUEUE_EGRESS_ALLOW": f"{receivers.addresses},{simulator}",
        "IMAGEQUEUE_WEBHOOK_SCHEDULE": "0,1,2,3,5,5,8,8,8,10,10,10,10,10,10",
        "AWS_ACCESS_KEY_ID": "chaos",
        "AWS_SECRET_ACCESS_KEY": "chaos",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def _deposit(stack: Stack) -> None:
    """Fund every wallet, with a ledger entry as an operator's deposit has."""
    statement = """
        WITH entry AS (
            INSERT INTO ledger_entries (id, account_id, kind, amount)
            SELECT gen_random_uuid(), account_id, 'DEPOSIT', %(usd)s FROM wallets RETURNING account_id
        )
        UPDATE wallets SET available = available + %(usd)s
        WHERE account_id IN (SELECT account_id FROM entry)
    """
    with psycopg.connect(str(stack.file()["database_url"])) as connection:
        connection.execute(statement, {"usd": FUNDS_USD})


def _clients(plan: Plan, parts: _Parts, wanted: Sequence[Order], notes: Notes, say: Say) -> _Clients:
    """Open the accounts, with funds, and make their clients."""
    stack = parts.stack
    keys = [stack.key(), stack.open_account("stranger")]
    backfill = _backfill(plan, parts, stack.open_account("backfill"), say)
    _deposit(stack)
    destination = Destination(str(stack.file()["api_url"]), keys, parts.receivers.url)
    return _Clients(
        Load(destination, wanted, notes, plan.seed),
        WaitingClients(destination, wanted, notes),
        backfill,
        HostileClient.at(destination.url, stack.open_account("hostile", HOSTILE_FUNDS_USD), plan.seed),
    )


class _Storm(NamedTuple):
    """What makes faults, and what is hit by some that outlast the storm."""

    weather: Weather
    faults: Faults
    receivers: Receivers
    backfill: Backfill


class _Clients(NamedTuple):
    """Who works during a run."""

    load: Load
    waiting: WaitingClients
    backfill: Backfill
    hostile: HostileClient


def _storm(plan: Plan, storm: _Storm) -> float:
    """Let weather and faults work for the planned time; returns when the faults had ended.

    Receivers in trouble recover before the end: their breakers stay open for as long again.
    """
    storm.weather.begin()
    storm.faults.start()
    time.sleep(plan.seconds * TROUBLE_SHARE)
    storm.receivers.recover()
    time.sleep(plan.seconds * (1.0 - TROUBLE_SHARE))
    storm.faults.stop()
    storm.weather.end(kept=storm.backfill.faults)
    return time.time()


def _end(clients: _Clients, stack: Stack, say: Say) -> float | None:
    """Wait until all clients have their answers and nothing is open; returns when that was, as `_drain`.

    A client that waits has its answer when its job is final, and its last repeat may have made the job. The
    backfill downloads its images when its batch has ended, retries lines, and waits for these.
    """
    clients.hostile.stop()
    clients.load.join(FINAL_SECONDS)
    _drain(stack, say)
    clients.hostile.join()
    clients.waiting.join(FINAL_SECONDS)
    clients.backfill.join(BACKFILL_SECONDS)
    drained_at = _drain(stack, say)
    clients.load.stop()
    clients.waiting.stop()
    return drained_at


def _drain(stack: Stack, say: Say) -> float | None:
    """Wait until no job, delivery, attempt, line or batch is open; returns when that was.

    None: there was no progress for `FINAL_SECONDS`, or it took longer than `DRAIN_SECONDS`.
    """
    end, told, least = time.monotonic() + DRAIN_SECONDS, "", math.inf
    deadline = time.monotonic() + FINAL_SECONDS
    while time.monotonic() < min(deadline, end):
        found = _open_counts(stack)
        if found and not any(found):
            return time.time()
        if found and sum(found) < least:
            deadline, least = time.monotonic() + FINAL_SECONDS, sum(found)
        words = "{} jobs, {} deliveries, {} attempts, {} lines, {} batches"
        text = "the database is away" if found is None else words.format(*found)
        if text != told:
            say(f"open    {text}")
        told = text
        time.sleep(LOOK_SECONDS)
    return None


def _open_counts(stack: Stack) -> Sequence[int] | None:
    try:
        with psycopg.connect(str(stack.file()["database_url"]), connect_timeout=3) as connection:
            return connection.execute(_OPEN).fetchone()  # pyright: ignore[reportReturnType]  # five counts
    except (psycopg.Error, OSError):
        return None


def _ask_for_hands(stack: Stack, url: str) -> list[str]:
    """What a person would have to mend: a supervisor that ended, a new job that is not served."""
    if not stack.alive:
        return ["the supervisor has ended"]
    with httpx.Client(base_url=url, headers={"api-key": stack.key()}, timeout=10, trust_env=False) as client:
        body = {"prompt": "chaos probe", "aspect_ratio": "1:1"}
        answer = client.post(f"/{MODEL}/v1/{MODEL}-request", json=body)
        if answer.status_code != HTTPStatus.ACCEPTED:
            return [f"a new job was answered with {answer.status_code}"]
        deadline = time.monotonic() + PROBE_SECONDS
        status = ""
        while time.monotonic() < deadline:
            status = client.get(f"/v2/requests/status/{answer.json()['request_id']}").json()["status"]
            if status == "COMPLETED":
                return []
            time.sleep(0.2)
    return [f"a new job is {status} after {PROBE_SECONDS:.0f} s"]
