"""Faults of our own processes and servers: one every 3 to 15 s.

They are drawn from a shuffled deck, so that every kind happens before one happens again.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import psycopg
from redis import Redis
from redis.exceptions import RedisError

from chaos.bucket import Bucket
from chaos.receiver import Receiver
from chaos.stack import Stack

PAUSE_SECONDS = (3.0, 15.0)
"""Between two faults. The shortest is less than a restart takes, so that faults meet."""
STOP_SECONDS = (5.0, 40.0)
"""How long a process is stopped: the failure detector takes it for dead after 20 to 25 s, so both happen."""
RECEIVER_SECONDS = (20.0, 40.0)
"""How long the receiver hangs: webhooks for it then fill every slot of the workers that deliver."""
STORAGE_SECONDS = 20.0
"""How long the storage refuses puts: longer than a call and several tries to store its image."""
RESTART_SECONDS = 10.0
"""How long a killed process counts as away in the checker: until the supervisor has it at work again."""

_APPLICATION = ("api", "dispatcher", "worker")


@dataclass(slots=True)
class Fault:
    """One fault: its kind, the process or server, its pid (0: none), its time (seconds since the epoch)."""

    kind: str
    target: str
    pid: int
    began: float
    ended: float


class Faults:
    """Makes faults in a thread until `stop`, which also ends those that last."""

    def __init__(
        self,
        stack: Stack,
        bucket: Bucket,
        receiver: Receiver,
        random: Random,
        say: Callable[[str], None],
    ) -> None:
        self.done: list[Fault] = []
        self._stack, self._bucket, self._receiver = stack, bucket, receiver
        self._random, self._say = random, say
        self._over = threading.Event()
        self._lasting = list[threading.Thread]()
        self._thread = threading.Thread(target=self._run, name="faults", daemon=True)
        self._kinds: dict[str, Callable[[], Fault | None]] = {
            "kill api": lambda: self._kill("api"),
            "kill dispatcher": lambda: self._kill("dispatcher"),
            "kill worker": lambda: self._kill("worker-generate"),
            "kill delivery worker": lambda: self._kill("worker-deliveries"),
            "kill backfill worker": lambda: self._kill("worker-backfills"),
            "stop and continue": self._stop_and_continue,
            "redis killed and emptied": self._empty_redis,
            "redis FLUSHALL": self._flush,
            "postgres immediate stop": self._stop_postgres,
            "connections terminated": self._terminate_connections,
            "storage refuses puts": self._refuse_puts,
            "receiver hangs": self._hang_receiver,
        }

    def start(self) -> None:
        """Begin to make faults."""
        self._thread.start()

    def stop(self) -> None:
        """Make no more faults, and wait until those that last are over."""
        self._over.set()
        self._thread.join()
        for thread in self._lasting:
            thread.join()

    def _run(self) -> None:
        deck = list[str]()
        while not self._over.wait(self._random.uniform(*PAUSE_SECONDS)):
            if not deck:
                deck = sorted(self._kinds)
                self._random.shuffle(deck)
            fault = self._kinds[deck.pop()]()
            if fault is not None:
                self.done.append(fault)
                self._say(f"fault {len(self.done):3}  {fault.kind}: {fault.target}")

    def _pick(self, *prefixes: str) -> tuple[str, int] | None:
        try:
            running = sorted(self._stack.running().items())
        except (OSError, ValueError):
            return None
        found = [one for one in running if one[0].startswith(prefixes)]
        return self._random.choice(found) if found else None

    def _signal(self, pid: int, number: signal.Signals) -> bool:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True

    def _kill(self, prefix: str) -> Fault | None:
        picked = self._pick(prefix)
        if picked is None or not self._signal(picked[1], signal.SIGKILL):
            return None
        kind = f"kill {prefix.split('-', maxsplit=1)[0]}"
        return _lasting(kind, *picked, RESTART_SECONDS)

    def _stop_and_continue(self) -> Fault | None:
        picked = self._pick(*_APPLICATION)
        seconds = self._random.uniform(*STOP_SECONDS)
        if picked is None or not self._signal(picked[1], signal.SIGSTOP):
            return None
        fault = Fault("SIGSTOP, then SIGCONT", f"{picked[0]} for {seconds:.0f} s", picked[1], time.time(), 0)
        self._later(seconds, fault, lambda: self._signal(fault.pid, signal.SIGCONT))
        return fault

    def _empty_redis(self) -> Fault | None:
        """Kill Redis and remove its files; the supervisor starts it again, empty."""
        picked = self._pick("redis")
        if picked is None or not self._signal(picked[1], signal.SIGSTOP):
            return None
        for path in self._stack.data.joinpath("redis").glob("appendonly*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self._signal(picked[1], signal.SIGKILL)
        return _lasting("redis killed, its data removed", *picked, RESTART_SECONDS)

    def _flush(self) -> Fault | None:
        url = str(self._stack.file()["redis_url"])
        try:
            with Redis.from_url(url, socket_timeout=5) as client:  # pyright: ignore[reportUnknownMemberType]
                client.flushall()  # pyright: ignore[reportUnknownMemberType]
        except RedisError:
            return None
        return _lasting("redis FLUSHALL", "redis", 0, 0)

    def _stop_postgres(self) -> Fault | None:
        picked = self._pick("postgres")
        if picked is None or not self._signal(picked[1], signal.SIGQUIT):
            return None
        return _lasting("postgres immediate stop", *picked, RESTART_SECONDS)

    def _terminate_connections(self) -> Fault | None:
        statement = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        try:
            with psycopg.connect(str(self._stack.file()["database_url"]), connect_timeout=3) as connection:
                row: Any = connection.execute(statement).fetchone()
        except psycopg.Error:
            return None
        return _lasting("all database connections terminated", f"{row[0]} connections", 0, 1)

    def _refuse_puts(self) -> Fault | None:
        fault = Fault("storage refuses every put", f"for {STORAGE_SECONDS:.0f} s", 0, time.time(), 0)
        if self._bucket.refusing.is_set():
            return None
        self._bucket.refusing.set()
        self._later(STORAGE_SECONDS, fault, self._bucket.refusing.clear)
        return fault

    def _hang_receiver(self) -> Fault | None:
        if self._receiver.hanging.is_set():
            return None
        seconds = self._random.uniform(*RECEIVER_SECONDS)
        fault = Fault("receiver hangs", f"for {seconds:.0f} s", 0, time.time(), 0)
        self._receiver.hanging.set()
        self._later(seconds, fault, self._receiver.hanging.clear)
        return fault

    def _later(self, seconds: float, fault: Fault, undo: Callable[[], object]) -> None:
        fault.ended = fault.began + seconds

        def wait() -> None:
            self._over.wait(seconds)
            undo()
            fault.ended = time.time()

        thread = threading.Thread(target=wait, name=f"undo {fault.kind}", daemon=True)
        thread.start()
        self._lasting.append(thread)


def _lasting(kind: str, target: str, pid: int, seconds: float) -> Fault:
    now = time.time()
    return Fault(kind, target, pid, now, now + seconds)
