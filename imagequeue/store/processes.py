"""Heartbeats: which processes are alive, and how many slots the workers have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, insert, text

from imagequeue.store.tables import processes

FRESH_SECONDS = 15
"""A worker whose last heartbeat is older gets no new calls. The failure detector alone declares it dead."""

_BEAT = text("""
    UPDATE processes SET beat = beat + 1, beat_at = clock_timestamp(), slots = :slots WHERE id = :id
""")

_REMOVE_DEAD = text("""
    DELETE FROM processes
    USING unnest(CAST(:ids AS uuid[]), CAST(:beats AS bigint[])) AS seen (id, beat)
    WHERE processes.id = seen.id AND processes.beat = seen.beat
    RETURNING processes.id
""")

SLOTS = """
    SELECT queue, sum(slots::float8 / queues_served)
    FROM processes
    CROSS JOIN LATERAL (
        SELECT count(*) AS queues_served FROM unnest(queues) AS name WHERE name LIKE 'generate.%'
    ) AS served
    CROSS JOIN LATERAL unnest(queues) AS queue
    WHERE kind = 'worker' AND queue LIKE 'generate.%'
        AND beat_at > clock_timestamp() - make_interval(secs => :fresh)
    GROUP BY queue
"""
"""The slots of the live workers, by queue."""


DELIVERY_SLOTS = """
    SELECT coalesce(sum(delivery_slots), 0)::int FROM processes
    WHERE kind = 'worker' AND beat_at > clock_timestamp() - make_interval(secs => :fresh)
"""
"""How many delivery attempts the live workers can make at a time."""


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """One run of one process; a restart is another one, with a new id.

    `slots` is how many calls of upstreams it can make at a time, `delivery_slots` how many delivery attempts.
    """

    id: UUID
    kind: str
    host: str
    pid: int
    queues: tuple[str, ...] = ()
    slots: int = 0
    delivery_slots: int = 0


def register(connection: Connection, process: ProcessRecord) -> None:
    """Write the row of a process that starts."""
    connection.execute(
        insert(processes),
        {
            "id": process.id,
            "kind": process.kind,
            "host": process.host,
            "pid": process.pid,
            "queues": list(process.queues),
            "slots": process.slots,
            "delivery_slots": process.delivery_slots,
        },
    )


def beat(connection: Connection, process_id: UUID, slots: int) -> bool:
    """Write a heartbeat of a process, with its slots; False when its row is not there."""
    return connection.execute(_BEAT, {"id": process_id, "slots": slots}).rowcount == 1


def beats(connection: Connection) -> Mapping[UUID, int]:
    """The heartbeat counter of every process."""
    return {row.id: row.beat for row in connection.execute(text("SELECT id, beat FROM processes"))}


def fresh_kinds(connection: Connection) -> Mapping[str, int]:
    """How many processes of each kind sent a heartbeat within `FRESH_SECONDS`; the row alone is none."""
    rows = connection.execute(
        text("""
            SELECT kind, count(*) FROM processes
            WHERE beat > 0 AND beat_at > clock_timestamp() - make_interval(secs => :fresh)
            GROUP BY kind
        """),
        {"fresh": FRESH_SECONDS},
    )
    return {row[0]: row[1] for row in rows}


def slots_by_queue(connection: Connection) -> Mapping[str, float]:
    """The slots of the live workers, by queue; a worker of several generate queues divides its slots.

    Shares may be fractions, so that they add up to the slots that there are.
    """
    return {row[0]: row[1] for row in connection.execute(text(SLOTS), {"fresh": FRESH_SECONDS})}


def forget(connection: Connection, ids: Sequence[UUID]) -> None:
    """Delete the rows of processes that ended."""
    connection.execute(text("DELETE FROM processes WHERE id = ANY(:ids)"), {"ids": list(ids)})


def remove_dead(connection: Connection, dead: Mapping[UUID, int]) -> list[UUID]:
    """Delete the rows of processes whose counters have not moved since they were read; returns their ids."""
    values = {"ids": list(dead), "beats": list(dead.values())}
    return list(connection.execute(_REMOVE_DEAD, values).scalars())
