"""Every fault of a receiver: the delivery's state, the row of the attempt, the next time, the target's row.

A healthy neighbour of the same account gets its webhook in the same turn, and its row shows no fault.
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from imagequeue import wiring
from imagequeue.domain.webhooks import LONGEST_HINT
from imagequeue.egress.client import GuardedClient
from imagequeue.egress.deadline import Limits
from imagequeue.egress.policy import EgressPolicy
from imagequeue.egress.resolver import BoundedResolver
from imagequeue.egress.tls import tls_context
from imagequeue.lifecycle.deliver.attempt import Delivering, EndedAttempt
from imagequeue.store.deliveries import DeliveryTask
from tests import builders
from tests.egress import scripts
from tests.egress.certificates import Authority
from tests.egress.receiver import Receiver, Script, answering
from tests.egress.scripts import HEAD, OK
from tests.egress.way import NAME, PATIENT, QUICK, to_loopback
from tests.lifecycle.deliver.outbox import Outbox

BOMB = gzip.compress(b"\0" * 10_000_000)


@dataclass
class Fault:
    """What came of one attempt at a receiver, and of the one at its neighbour; times are the database's."""

    row: Any
    attempt: Any
    target: Any
    neighbour: Any
    began: datetime
    ended: datetime

    def keeps_the_schedule(self, seconds: float = 5.0) -> bool:
        """Whether the next attempt is so late, or by chance a fifth later."""
        earliest, latest = self.began, self.ended + timedelta(seconds=0.2 * seconds)
        due = self.row.next_attempt_at - timedelta(seconds=seconds)
        return self.row.state == "PENDING" and earliest <= due <= latest


@dataclass(frozen=True, slots=True)
class OfTwo(Delivering):
    """Makes attempts; those at the receiver that a test scripts are `hasty`'s."""

    hasty: Delivering = field(kw_only=True)

    def attempt(self, task: DeliveryTask) -> EndedAttempt:
        return self.hasty.attempt(task) if NAME in task.url else Delivering.attempt(self, task)


class Faults:
    """Two targets of one account: a receiver that a test scripts, and a healthy one."""

    def __init__(self, engine: Engine, database_url: str, authority: Authority) -> None:
        self.outbox = Outbox(engine, slots=64)
        self.authority = authority
        self.account, _ = builders.account(engine, "acme")
        self.outbox.job_of(self.account)
        self.runtime = builders.runtime(engine, database_url)
        self.scheme, self.resolver = "http", BoundedResolver(to_loopback)

    def attempt(self, receiver_port: int, limits: Limits) -> Fault:
        """Deliver one webhook to each of both, at the same time."""
        with Receiver(answering(OK)) as healthy:
            targets = f"{self.scheme}://{NAME}:{receiver_port}", f"http://127.0.0.1:{healthy.port}"
            for target in targets:
                self.outbox.add(self.account, target)
            self.outbox.execute("UPDATE deliveries SET url = target || '/hook'")
            began = self._now()
            assert sum(self.outbox.turn().values()) == 2
            self._deliver(f"{NAME}:{receiver_port},127.0.0.1:{healthy.port}", limits)
        faulty, neighbour = (self._of(target) for target in targets)
        assert neighbour.delivery.state == "DELIVERED"
        return Fault(faulty.delivery, faulty.attempt, faulty.target, neighbour.target, began, self._now())

    def _deliver(self, allow: str, limits: Limits) -> None:
        policy, tls = EgressPolicy.parse(allow=allow), tls_context(self.authority.pem)
        client = GuardedClient(policy, user_agent="test", tls=tls, resolver=self.resolver)
        whole = wiring.deliveries(self.runtime, self.outbox.pool, 2).delivering
        hasty = replace(whole, client=client, limits=limits)
        self.outbox.deliveries.delivering = OfTwo(client, whole.keyring, {}, PATIENT, hasty=hasty)
        threads = [threading.Thread(target=one.make) for one in self.outbox.pool.begun]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert self.outbox.deliveries.record_once() == 2

    def _now(self) -> datetime:
        return self.outbox.rows("SELECT clock_timestamp()")[0][0]

    def _of(self, target: str) -> _Rows:
        (delivery,) = self.outbox.rows("SELECT * FROM deliveries WHERE target = :target", target=target)
        attempts = self.outbox.rows("SELECT * FROM delivery_attempts WHERE delivery_id = :id", id=delivery.id)
        (known,) = self.outbox.rows("SELECT * FROM webhook_targets WHERE target = :target", target=target)
        assert [attempt.number for attempt in attempts] == [1]
        return _Rows(delivery, attempts[0], known)


@dataclass
class _Rows:
    delivery: Any
    attempt: Any
    target: Any


@pytest.fixture
def faults(engine: Engine, database_url: str, authority: Authority) -> Iterator[Faults]:
    made = Faults(engine, database_url, authority)
    yield made
    made.runtime.redis.close()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def of_script(faults: Faults, script: Script, limits: Limits = PATIENT) -> Fault:
    with Receiver(script) as receiver:
        fault = faults.attempt(receiver.port, limits)
    assert (fault.neighbour.failures, fault.neighbour.attempt_limit, fault.neighbour.open_until) == (
        0,
        4,
        None,
    )
    return fault


@pytest.mark.parametrize(
    ("script", "outcome", "limits"),
    [
        (scripts.resets_at_once, "connect_failed", PATIENT),
        (scripts.reads_and_resets, "connect_failed", PATIENT),
        (scripts.reads_and_closes, "connect_failed", PATIENT),
        (scripts.never_reads, "timeout", QUICK),
        (scripts.never_answers, "timeout", QUICK),
        (scripts.drips_head, "timeout", QUICK),
        (scripts.drips_single_bytes, "timeout", QUICK),
        (scripts.continues_for_ever, "timeout", QUICK),
        (scripts.floods_with_continues, "connect_failed", PATIENT),
        (answering(b"HTTP/1.1 abc OK\r\n\r\n"), "connect_failed", PATIENT),
        (answering(HEAD + b"X-Long: " + b"x" * 100_000 + b"\r\n\r\n"), "connect_failed", PATIENT),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_fault_without_a_status_keeps_the_schedule_and_counts(
    faults: Faults, script: Script, outcome: str, limits: Limits
) -> None:
    fault = of_script(faults, script, limits)
    assert (fault.attempt.outcome, fault.attempt.http_status) == (outcome, None)
    assert fault.keeps_the_schedule()
    assert (fault.target.failures, fault.target.attempt_limit) == (1, 2)


@pytest.mark.parametrize(
    ("script", "limits"),
    [
        (scripts.drips_body, QUICK),
        (scripts.never_ends_body, PATIENT),
        (answering(HEAD + b"Content-Length: 100\r\n\r\nbroken off"), PATIENT),
        (
            answering(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB),
            PATIENT,
        ),
    ],
    ids=["body dripped", "endless body", "wrong length", "gzip bomb"],
)
def test_a_status_is_the_answer_whatever_becomes_of_the_body(
    faults: Faults, script: Script, limits: Limits
) -> None:
    fault = of_script(faults, script, limits)
    assert (fault.row.state, fault.attempt.outcome, fault.attempt.http_status) == (
        "DELIVERED",
        "http_200",
        200,
    )
    assert len(fault.attempt.response_excerpt) <= 4096
    assert fault.target.failures == 0


def answer(status: int, *headers: str) -> Script:
    lines = [f"HTTP/1.1 {status} Status", *headers, "Content-Length: 0", "", ""]
    return answering("\r\n".join(lines).encode())


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_status_of_a_server_in_trouble_counts(faults: Faults, status: int) -> None:
    fault = of_script(faults, answer(status))
    assert (fault.attempt.outcome, fault.target.failures) == (f"http_{status}", 1)
    assert fault.keeps_the_schedule()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_status_of_a_server_that_is_up_does_not(faults: Faults, status: int) -> None:
    fault = of_script(faults, answer(status))
    assert (fault.attempt.outcome, fault.target.failures) == (f"http_{status}", 0)
    assert fault.keeps_the_schedule()


def test_a_redirect_to_a_private_address_is_not_followed(faults: Faults) -> None:
    fault = of_script(faults, answer(307, "Location: http://10.0.0.1/"))
    assert (fault.attempt.outcome, fault.target.failures) == ("redirect_not_followed", 0)
    assert fault.keeps_the_schedule()


def test_gone_is_dead(faults: Faults) -> None:
    fault = of_script(faults, answer(410))
    assert (fault.row.state, fault.target.failures) == ("DEAD", 0)


@pytest.mark.parametrize(("status", "counted"), [(429, 1), (503, 0)])
@pytest.mark.parametrize("hint", ["60", "1e99", "999999999"])
def test_a_hint_puts_off_the_delivery_and_pauses_the_target(
    faults: Faults, status: int, counted: int, hint: str
) -> None:
    fault = of_script(faults, answer(status, f"Retry-After: {hint}"))
    if hint == "1e99":  # no number of seconds by the standard
        assert fault.keeps_the_schedule()
        assert fault.target.paused_until is None
        return
    wait = min(timedelta(seconds=float(hint)), LONGEST_HINT)
    assert fault.began <= fault.row.next_attempt_at - wait <= fault.ended
    assert (fault.target.paused_until, fault.target.failures) == (fault.row.next_attempt_at, counted)


@pytest.mark.parametrize("hint", ["0", "-1", "NaN", "soon", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_hint_that_says_nothing_keeps_the_schedule(faults: Faults, hint: str) -> None:
    fault = of_script(faults, answer(429, f"Retry-After: {hint}"))
    assert fault.keeps_the_schedule()
    assert fault.target.paused_until is None


@pytest.mark.parametrize(
    ("name", "days", "self_signed"), [("other.example.com", 30, False), (NAME, -1, False), (NAME, 30, True)]
)
def test_a_bad_certificate_counts(
    faults: Faults,
    tmp_path: Path,
    name: str,
    days: int,
    self_signed: bool,  # noqa: FBT001
) -> None:
    faults.scheme = "https"
    server = faults.authority.server(tmp_path, name, days=days, self_signed=self_signed)
    with Receiver(answering(OK), tls=server) as receiver:
        fault = faults.attempt(receiver.port, PATIENT)
    assert (fault.attempt.outcome, fault.target.failures) == ("tls_error", 1)
    assert fault.keeps_the_schedule()


def test_a_refused_connection_counts(faults: Faults) -> None:
    with Receiver(answering(OK)) as gone:
        pass
    fault = faults.attempt(gone.port, PATIENT)
    assert (fault.attempt.outcome, fault.target.failures) == ("connect_failed", 1)
    assert fault.keeps_the_schedule()


def test_an_unknown_name_counts(faults: Faults) -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise OSError(f"{host}:{port} is not known")

    faults.resolver = BoundedResolver(unknown)
    fault = faults.attempt(443, PATIENT)
    assert (fault.attempt.outcome, fault.target.failures) == ("dns_error", 1)
    assert fault.keeps_the_schedule()


def test_a_name_that_has_come_to_lead_to_a_metadata_service_does_not_count(faults: Faults) -> None:
    def metadata(host: str, port: int) -> list[str]:
        del host, port
        return ["169.254.169.254"]

    faults.resolver = BoundedResolver(metadata)
    fault = faults.attempt(443, PATIENT)
    assert (fault.attempt.outcome, fault.target.failures) == ("blocked_destination", 0)
    assert fault.keeps_the_schedule()
