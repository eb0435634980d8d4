"""Law 5: each edge of a state machine has one writer. Which file and function writes which edge stands here.

An edge is from which state, to which one, and on what occasion, where a state is left for the other in two
ways. The table is compared with the text of every statement of the product, so a new writer fails until it is
decided whose edge it writes.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import product as pairs
from pathlib import Path
from typing import NamedTuple

import pytest

from imagequeue.domain.batches import BATCH_EDGES, LINE_EDGES, BatchState, LineState
from imagequeue.domain.jobs import FINAL, OPEN_ATTEMPTS, AttemptState, JobStatus
from tests.house.program import read
from tests.house.writes import WATCHED, Write, product, unreadable, writes

INSERT = "imagequeue/store/jobs/insert.py"
CLAIM = "imagequeue/store/jobs/claims.py"
FINISH = "imagequeue/store/jobs/settlements.py"
CALL = "imagequeue/store/attempts/calls.py"
CLOSE = "imagequeue/store/attempts/closings.py"
DELIVERIES = "imagequeue/store/deliveries.py"
OUTBOX = "imagequeue/store/outbox.py"
REDELIVERIES = "imagequeue/store/redeliveries.py"
BATCHES = "imagequeue/store/batches/batches.py"
BATCH_CONTROL = "imagequeue/store/batches/control.py"
PARTS = "imagequeue/store/batches/parts.py"
LINES = "imagequeue/store/batches/lines.py"
COUNTERS = "imagequeue/store/batches/counters.py"
LEDGER = "imagequeue/store/money/ledger.py"
ACCOUNTS = "imagequeue/store/money/accounts.py"

NEW = "(new row)"
_OUTCOMES = set(AttemptState) - OPEN_ATTEMPTS - {AttemptState.LOST}
"""What a call can come to; LOST is an attempt whose job ended while it slept."""

_LATE = {AttemptState.UNKNOWN, AttemptState.LOST, AttemptState.SUCCEEDED}
"""Closed attempts whose images may still come."""

_OPEN = {BatchState.IN_PROGRESS, BatchState.PAUSED}


class Edges(NamedTuple):
    """From each of `sources` to each of `targets`, by one function."""

    column: str
    sources: set[str]
    targets: set[str]
    occasion: str
    path: str
    function: str


EDGES = [
    Edges("jobs.status", {NEW}, {"QUEUED"}, "submit", INSERT, "insert_jobs"),
    Edges("jobs.status", {"QUEUED", "PROCESSING"}, {"PROCESSING"}, "claim", CLAIM, "insert_attempts"),
    Edges("jobs.status", {"QUEUED", "PROCESSING"}, {*FINAL}, "settle", FINISH, "finish_jobs"),
    Edges("attempts.state", {NEW}, {"RELEASED"}, "claim", CLAIM, "insert_attempts"),
    Edges("attempts.state", {"RELEASED"}, {"CALLING"}, "the call begins", CALL, "start"),
    Edges("attempts.state", {"CALLING", "SLEEPING"}, {"SLEEPING"}, "the upstream has it", CALL, "sleep"),
    Edges("attempts.state", {"CALLING"}, {"SLEEPING"}, "the call is in doubt", CLOSE, "let_sleep"),
    Edges("attempts.state", {*OPEN_ATTEMPTS}, {*_OUTCOMES}, "an outcome", CLOSE, "close_attempts"),
    Edges("attempts.state", {*_LATE}, {"SUCCEEDED"}, "images come late", CLOSE, "close_attempts"),
    Edges("attempts.state", {"RELEASED"}, {"GIVEN_BACK"}, "its job ended", FINISH, "_give_back"),
    Edges("attempts.state", {"SLEEPING"}, {"LOST"}, "its job ended", FINISH, "_give_back"),
    Edges("deliveries.state", {NEW}, {"PENDING"}, "an event", OUTBOX, "write_deliveries"),
    Edges(
        "deliveries.state",
        {"PENDING"},
        {"PENDING", "DELIVERED", "DEAD"},
        "a try",
        DELIVERIES,
        "record_attempts",
    ),
    Edges("deliveries.state", {"PENDING"}, {"DEAD"}, "its age", DELIVERIES, "end_overdue"),
    Edges(
        "deliveries.state",
        {"PENDING", "DELIVERED", "DEAD"},
        {"PENDING"},
        "redelivery",
        REDELIVERIES,
        "redeliver",
    ),
    Edges("batches.state", {NEW}, {"validating"}, "its creation", BATCHES, "insert_batch"),
    Edges("batches.state", {"validating"}, {"in_progress"}, "its file is valid", PARTS, "publish_lines"),
    Edges("batches.state", {"validating"}, {"failed"}, "its file has errors", PARTS, "fail_batch"),
    Edges("batches.state", {"validating"}, {"completed"}, "a dry run", PARTS, "end_dry_run"),
    Edges("batches.state", {*_OPEN}, {*_OPEN}, "its reasons", BATCH_CONTROL, "set_reasons"),
    Edges("batches.state", {"validating", *_OPEN}, {"cancelling"}, "cancel", BATCH_CONTROL, "move_batch"),
    Edges("batches.state", {"validating", *_OPEN}, {"finalizing"}, "its end", BATCH_CONTROL, "move_batch"),
    Edges(
        "batches.state", {"finalizing"}, {"completed", "expired"}, "its files", BATCH_CONTROL, "move_batch"
    ),
    Edges("batches.state", {"cancelling"}, {"cancelled"}, "its files", BATCH_CONTROL, "move_batch"),
    Edges("batches.state", {"completed"}, {"in_progress"}, "retry", BATCH_CONTROL, "move_batch"),
    Edges("batch_lines.state", {NEW}, {"waiting", "skipped"}, "validation", LINES, "copy_lines"),
    *(
        Edges("batch_lines.state", {source}, {*targets}, "a change", COUNTERS, "move_lines")
        for source, targets in LINE_EDGES.items()
        if targets
    ),
    Edges("ledger_entries.kind", {NEW}, {"DEPOSIT"}, "deposit", LEDGER, "deposit"),
    Edges("ledger_entries.kind", {NEW}, {"HOLD"}, "submit", LEDGER, "_insert_holds"),
    Edges("ledger_entries.kind", {NEW}, {"CAPTURE", "VOID"}, "the end of a hold", LEDGER, "end_holds"),
]

BALANCES = {
    "wallets.available": {"create_accounts", "deposit", "_insert_holds", "end_holds"},
    "wallets.held": {"create_accounts", "_insert_holds", "end_holds"},
    "wallets.spent": {"create_accounts", "end_holds"},
}
"""Sums of the ledger, moved by the very statements that add its entries; a new account's are 0."""

STATES = {
    "jobs.status": {*JobStatus},
    "attempts.state": {*AttemptState},
    "deliveries.state": {"PENDING", "DELIVERED", "DEAD"},
    "batches.state": {*BatchState},
    "batch_lines.state": {*LineState},
    "ledger_entries.kind": {"DEPOSIT", "HOLD", "CAPTURE", "VOID"},
}


@cache
def written() -> list[Write]:
    """Every write of the product."""
    return [write for module in product() for write in writes(module)]


def test_each_edge_is_written_by_the_function_that_the_table_names() -> None:
    found = {write[:3] for write in written() if write.column not in BALANCES}
    assert found == {(edges.column, edges.path, edges.function) for edges in EDGES}


def test_balances_move_where_the_ledger_grows() -> None:
    found = {write[:3] for write in written() if write.column in BALANCES}
    assert found == {
        (column, ACCOUNTS if function == "create_accounts" else LEDGER, function)
        for column, functions in BALANCES.items()
        for function in functions
    }


def test_no_edge_has_two_writers() -> None:
    written = Counter(
        (edges.column, source, target, edges.occasion)
        for edges in EDGES
        for source, target in pairs(edges.sources, edges.targets)
    )
    assert not [edge for edge, writers in written.items() if writers > 1]


@pytest.mark.parametrize("edges", EDGES, ids=lambda edges: f"{edges.column} {edges.occasion}")
def test_the_statements_say_what_the_table_says(edges: Edges) -> None:
    same = [one for one in EDGES if (one.column, *one[4:]) == (edges.column, *edges[4:])]
    for write in written():
        if write[:3] == (edges.column, edges.path, edges.function):
            assert write.sources in (None, frozenset().union(*(one.sources for one in same)) - {NEW})
            assert write.targets in (None, frozenset().union(*(one.targets for one in same)))


@pytest.mark.parametrize("column", STATES)
def test_every_state_is_entered_by_an_edge(column: str) -> None:
    entered = [edges.targets for edges in EDGES if edges.column == column]
    assert set().union(*entered) == STATES[column]


def test_the_edges_of_batches_are_those_of_the_domain() -> None:
    moves = {
        move
        for edges in EDGES
        if edges.column == "batches.state"
        for move in pairs(edges.sources - {NEW}, edges.targets)
        if move[0] != move[1]
    }
    assert moves == {(source, target) for source, targets in BATCH_EDGES.items() for target in targets}


def test_every_watched_column_has_a_writer() -> None:
    watched = {f"{table}.{column}" for table, columns in WATCHED.items() for column in columns}
    assert {write.column for write in written()} == watched == STATES.keys() | BALANCES.keys()


def test_no_statement_hides_its_table() -> None:
    assert not [place for module in product() for place in unreadable(module)]


@pytest.mark.parametrize(
    ("statement", "column"),
    [
        ("text(\"UPDATE jobs SET wanted = 0, status = 'ERROR' WHERE id = :id\")", "jobs.status"),
        ('text(f"update attempts set state = :state where {MAY_END}")', "attempts.state"),
        (
            "text(\"WITH a AS (INSERT INTO deliveries (id, state) SELECT :id, 'DEAD') SELECT\")",
            "deliveries.state",
        ),
        ("text('INSERT INTO \"deliveries\" (id) VALUES (:id)')", "deliveries.state"),
        ("text('UPDATE batches SET state = :state WHERE id = :id')", "batches.state"),
        ("SQL('COPY batch_lines ({}) FROM STDIN')", "batch_lines.state"),
        ("update(jobs).where(jobs.c.id == one).values(status=status)", "jobs.status"),
        ("jobs.update().values(values)", "jobs.status"),
        ("postgresql.insert(ledger_entries).values(rows)", "ledger_entries.kind"),
    ],
)
def test_a_new_writer_would_be_found(statement: str, column: str) -> None:
    imports = "from imagequeue.store.tables import jobs, ledger_entries\n\n"
    for content in (
        f"def end(one):\n    run({statement})\n",
        f"_SQL = {statement}\n\ndef end():\n    run(_SQL)\n",
    ):
        found = writes(read(Path("imagequeue/lifecycle/new.py"), imports + content))
        assert [write[:3] for write in found] == [(column, "imagequeue/lifecycle/new.py", "end")]
    assert unreadable(read(Path("api/new.py"), 'f"UPDATE {table} SET status = 1"'))
