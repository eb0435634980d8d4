"""Every process says that it lives, in one way, and a process that works does not look dead."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import TimeoutError as PoolTimeout

from imagequeue.lifecycle.generate.in_flight import InFlight
from imagequeue.lifecycle.sweep.heartbeat import beating, this_process
from imagequeue.store.database import open_engine
from tests import builders
from tests.eventually import eventually
from tests.worker.running import PATIENCE, PROGRAM, QUEUE, running_process

COMMANDS = {
    "api": ("api", "--port", "0"),
    "dispatcher": ("dispatcher",),
    "worker": ("worker", "--queues", QUEUE),
}
_BEAT = "SELECT coalesce(max(beat), 0) FROM processes WHERE kind = :kind"
_CONNECTIONS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'imagequeue heartbeat'
"""


class Observer:
    """Asks the database over connections of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def count(self, query: str, **values: object) -> int:
        with self._engine.connect() as connection:
            return connection.execute(text(query), values).scalar_one()

    def until(self, query: str, holds: Callable[[int], bool], **values: object) -> None:
        eventually(lambda: holds(self.count(query, **values)))


@pytest.fixture
def observer(engine: Engine) -> Observer:
    return Observer(engine)


def test_a_process_whose_pool_is_used_up_does_not_look_dead(database_url: str, observer: Observer) -> None:
    busy = open_engine(database_url, pool_size=2, name="busy")
    runtime = builders.runtime(busy, database_url)
    with ExitStack() as held, beating(runtime, this_process("api")):
        for _ in range(2):
            held.enter_context(busy.connect())
        seen = observer.count(_BEAT, kind="api")
        observer.until(_BEAT, lambda beat: beat >= seen + 2, kind="api")
        with pytest.raises(PoolTimeout):
            busy.connect()
    busy.dispose()
    runtime.redis.close()


def test_at_the_end_its_row_and_its_connection_are_gone(
    engine: Engine, database_url: str, observer: Observer
) -> None:
    runtime = builders.runtime(engine, database_url)
    with beating(runtime, this_process("dispatcher"), first_until=threading.Event()):
        assert observer.count("SELECT count(*) FROM processes") == 1
        assert observer.count(_CONNECTIONS) == 1
    assert observer.count("SELECT count(*) FROM processes") == 0
    observer.until(_CONNECTIONS, lambda count: count == 0)
    runtime.redis.close()


def test_its_row_says_how_many_calls_it_takes_now(
    engine: Engine, database_url: str, observer: Observer
) -> None:
    runtime, left = builders.runtime(engine, database_url), [3]
    process = this_process("worker", queues=[QUEUE], slots=3)
    with beating(runtime, process, slots=lambda: left[0], in_flight=InFlight()):
        observer.until("SELECT coalesce(max(slots), -1) FROM processes", lambda slots: slots == 3)
        left[0] = 0
        observer.until("SELECT max(slots) FROM processes", lambda slots: slots == 0)
        assert observer.count("SELECT count(*) FROM processes") == 1, "it says so in its one row"
    runtime.redis.close()


def test_a_process_that_is_to_stop_does_not_wait_for_its_first_beat() -> None:
    nowhere = "postgresql+psycopg://nobody@127.0.0.1:1/none"
    stopping = threading.Event()
    stopping.set()
    engine = open_engine(nowhere, pool_size=1, name="nowhere")
    runtime = builders.runtime(engine, nowhere)
    with beating(runtime, this_process("worker"), first_until=stopping) as loop:
        assert loop.name == "heartbeat"
    runtime.redis.close()


@pytest.mark.parametrize("kind", COMMANDS)
def test_every_kind_of_process_beats_on_its_own_connection_and_leaves_no_row(
    kind: str, database_url: str, redis_url: str, tmp_path: Path, observer: Observer
) -> None:
    with running_process((*PROGRAM, *COMMANDS[kind]), database_url, redis_url, tmp_path) as process:
        observer.until(_BEAT, lambda beat: beat > 0, kind=kind)
        assert observer.count(_CONNECTIONS) == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    assert observer.count("SELECT count(*) FROM processes") == 0
