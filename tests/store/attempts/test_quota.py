"""The grant is atomic: the group's row is locked, and then, in another statement, its tokens are counted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from imagequeue.domain.catalog import QuotaGroup
from imagequeue.domain.ids import new_id
from imagequeue.domain.quota import LEASE_SLACK, grant
from imagequeue.domain.upstream_throttling import Drift, GroupPause
from imagequeue.store.attempts import calls, quota
from tests import builders
from tests.locks import wait_until_blocked

RPM = 10
GROUP = QuotaGroup(name="east", rpm=RPM, window_seconds=60, guard_ms=400, pace=False, cold_start="fresh")


@pytest.fixture
def job_id(engine: Engine) -> UUID:
    """A job for attempts to belong to, and a fresh group."""
    account_id, _ = builders.account(engine, "acme")
    job = new_id()
    with engine.begin() as connection:
        quota.ensure_groups(connection, [GROUP])
        flow_id = connection.execute(
            text("""
                INSERT INTO flows (model_id, requirement, account_id, lane)
                VALUES ('m', 'r', :account, 'interactive') RETURNING id
            """),
            {"account": account_id},
        ).scalar_one()
        connection.execute(
            text("""
                INSERT INTO jobs (id, account_id, flow_id, status, image_count, wanted, price_usd)
                VALUES (:id, :account, :flow, 'PROCESSING', 1, 0, 0)
            """),
            {"id": job, "account": account_id, "flow": flow_id},
        )
    return job


def insert(connection: Connection, job_id: UUID, slot: float, **more: object) -> UUID:
    """A token that is out."""
    values = {
        "id": new_id(),
        "job_id": job_id,
        "slot": quota.at(slot),
        "returns": quota.at(slot + 60.4 + LEASE_SLACK),
        "state": "RELEASED",
        "process_id": None,
    } | more
    connection.execute(
        text("""
            INSERT INTO attempts (id, job_id, deployment, quota_group, lane, image_count, state, slot_at,
                token_returns_at, release_deadline, process_id, called_at)
            VALUES (:id, :job_id, 'd', 'east', 'interactive', 1, :state, :slot, :returns, :slot, :process_id,
                clock_timestamp())
        """),
        values,
    )
    return UUID(str(values["id"]))


def grant_one(engine: Engine, job_id: UUID) -> bool:
    with engine.begin() as connection:
        group = quota.lock_group(connection, "east", 1)
        slots = grant(group.quota, group.state, 1)
        for slot in slots:
            insert(connection, job_id, slot)
            quota.set_last_start(connection, "east", slot, 900)
        return bool(slots)


def count_tokens(engine: Engine) -> int:
    return builders.count(engine, "attempts")


def in_threads(count: int, work: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_four_writers_never_grant_more_than_the_quota(engine: Engine, job_id: UUID) -> None:
    for _ in range(10):
        together = threading.Barrier(4)

        def work(together: threading.Barrier = together) -> None:
            together.wait()
            while grant_one(engine, job_id):
                pass

        in_threads(4, work)
        assert count_tokens(engine) == RPM
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM attempts"))


ONE_STATEMENT = text("""
    SELECT (
        SELECT count(*) FROM attempts
        WHERE quota_group = 'east' AND token_returns_at > clock_timestamp()
    ) AS out
    FROM quota_groups WHERE name = 'east' FOR UPDATE
""")


def two_statements(connection: Connection) -> int:
    return quota.lock_group(connection, "east").out


def one_statement(connection: Connection) -> int:
    return connection.execute(ONE_STATEMENT).scalar_one()


@pytest.mark.parametrize(("count", "seen"), [(two_statements, 1), (one_statement, 0)])
def test_what_waits_for_the_lock_counts_the_token_that_was_granted_meanwhile(
    engine: Engine, job_id: UUID, count: Callable[[Connection], int], seen: int
) -> None:
    """One statement for both would not (`one_statement`, 0): its snapshot is older than its lock."""
    counted = list[int]()

    def second() -> None:
        with engine.begin() as connection:
            counted.append(count(connection))

    thread = threading.Thread(target=second)
    with engine.begin() as first:
        state = quota.lock_group(first, "east").state
        thread.start()
        wait_until_blocked(engine)
        insert(first, job_id, state.now)
    thread.join()
    assert counted == [seen]


def test_the_reading_tells_free_tokens_and_when_the_next_ones_open(engine: Engine, job_id: UUID) -> None:
    with engine.begin() as connection:
        now = quota.lock_group(connection, "east").state.now
        for number in range(RPM + 2):
            insert(connection, job_id, now + number)
        group = quota.lock_group(connection, "east", want=3)
    assert (group.out, group.state.free) == (RPM + 2, 0)
    expected = [now + number + 60.4 + LEASE_SLACK for number in (2, 3, 4)]
    assert list(group.state.returns) == pytest.approx(expected, abs=1e-4)


def test_history_is_not_read(engine: Engine, job_id: UUID) -> None:
    """The clock is compared in the index, not in every row of the group."""
    with engine.begin() as connection:
        for _ in range(500):
            insert(connection, job_id, 1_000_000.0)
        insert(connection, job_id, quota.lock_group(connection, "east").state.now)
    with engine.connect() as connection:
        connection.execute(text("ANALYZE attempts"))
        connection.execute(text("SET enable_seqscan = off"))
        explained = connection.execute(
            text(f"EXPLAIN {quota._READ.text}"),  # pyright: ignore[reportPrivateUsage]  # its plan is the point
            {"names": ["east"], "want": 10},
        ).scalars()
        plan = "\n".join(explained)
    looked_up = "Index Cond: ((quota_group = quota_groups.name) AND (token_returns_at >"
    assert plan.count(looked_up) == 2, plan


def test_all_groups_are_read_at_one_moment(engine: Engine) -> None:
    """Also when the planner takes the table for one row, and so joins the clock to each group."""
    names = [f"group {number}" for number in range(20)]
    with engine.begin() as connection:
        quota.ensure_groups(connection, [GROUP])
        connection.execute(text("ANALYZE quota_groups"))
        quota.ensure_groups(connection, [GROUP.model_copy(update={"name": name}) for name in names])
        groups = quota.read_groups(connection, names, 1)
    assert len(groups) == len(names)
    assert len({group.state.now for group in groups.values()}) == 1


def test_sending_moves_the_return_and_a_wider_guard_holds_at_once(engine: Engine, job_id: UUID) -> None:
    with engine.begin() as connection:
        group = quota.lock_group(connection, "east")
        quota.set_drift(connection, "east", Drift(RPM, 0.5), new_drifts=1)
        attempt_id = insert(connection, job_id, group.state.now)
        calls.record_sent(connection, {attempt_id: 0.25})
        row = connection.execute(
            text("SELECT extract(epoch FROM token_returns_at - sent_at)::float8 FROM attempts")
        ).scalar_one()
        group = quota.lock_group(connection, "east")
    assert row == pytest.approx(60.9, abs=1e-3)
    assert group.quota.guard == pytest.approx(0.9)
    assert group.drifts == 1


def test_a_block_only_ever_moves_later(engine: Engine, job_id: UUID) -> None:
    with engine.begin() as connection:
        quota.pause_group(connection, "east", GroupPause(30), "slow down")
        until = quota.lock_group(connection, "east").state.blocked_until
        quota.pause_group(connection, "east", GroupPause(1), "slow down")
        group = quota.lock_group(connection, "east")
    assert group.state.blocked_until == until
    assert (group.throttled, group.throttled_in_a_row) == (2, 2)


def test_a_success_counts_only_when_it_was_sent_after_the_429(engine: Engine, job_id: UUID) -> None:
    with engine.begin() as connection:
        now = quota.lock_group(connection, "east").state.now
        early, late = (insert(connection, job_id, now) for _ in range(2))
        calls.record_sent(connection, {early: 0})
        quota.pause_group(connection, "east", GroupPause(900, out_of_quota=True), "insufficient_quota")
        quota.group_succeeded(connection, "east", early)
        assert quota.lock_group(connection, "east").out_of_quota
        calls.record_sent(connection, {late: 0})
        quota.group_succeeded(connection, "east", late)
        group = quota.lock_group(connection, "east")
    assert not group.out_of_quota
    assert group.throttled_in_a_row == 0
    assert group.state.blocked_until is not None
    assert group.state.blocked_until <= group.state.now


def test_a_success_counts_by_the_start_of_its_call_if_its_sending_could_not_be_written(
    engine: Engine, job_id: UUID
) -> None:
    called = text("UPDATE attempts SET called_at = clock_timestamp() WHERE id = :id")
    with engine.begin() as connection:
        now = quota.lock_group(connection, "east").state.now
        early, probe = (insert(connection, job_id, now) for _ in range(2))
        connection.execute(called, {"id": early})
        quota.pause_group(connection, "east", GroupPause(900, out_of_quota=True), "insufficient_quota")
        quota.group_succeeded(connection, "east", early)
        assert quota.lock_group(connection, "east").out_of_quota
        connection.execute(called, {"id": probe})
        quota.group_succeeded(connection, "east", probe)
        assert not quota.lock_group(connection, "east").out_of_quota


def test_a_new_group_starts_with_all_tokens_out(engine: Engine) -> None:
    with engine.begin() as connection:
        quota.ensure_groups(connection, [GROUP.model_copy(update={"cold_start": "spent"})])
        state = quota.lock_group(connection, "east").state
    assert state.blocked_until == pytest.approx(state.now + 60.4, abs=1)


def test_a_longer_window_holds_for_the_calls_before_it(engine: Engine) -> None:
    with engine.begin() as connection:
        quota.ensure_groups(connection, [GROUP])
        quota.ensure_groups(connection, [GROUP.model_copy(update={"window_seconds": 90.0, "rpm": 4})])
        group = quota.lock_group(connection, "east")
    assert group.state.blocked_until == pytest.approx(group.state.now + 30, abs=1)
    assert (group.rpm, group.quota.rpm, group.quota.window) == (4, 4, 90)


def test_calls_before_counts_the_window_that_ends_with_the_call(engine: Engine, job_id: UUID) -> None:
    with engine.begin() as connection:
        now = quota.lock_group(connection, "east").state.now
        for ago in (70, 59, 10, 1):
            calls.record_sent(connection, {insert(connection, job_id, now): ago})
        last = insert(connection, job_id, now)
        calls.record_sent(connection, {last: 0})
        assert quota.calls_before(connection, last) == 3
