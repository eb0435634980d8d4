"""Which SQL statements the processes send, from the log of the server.

The wheel's Postgres has no `pg_stat_statements`, so the server writes each statement to its log for a while.
That costs it time: nothing else is measured meanwhile.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.stack import Stack

_LINE = re.compile(r" LOG:  (?:statement|execute [^:]*): ")
_BEGINNING = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ UTC \[\d+\] ")
_TRANSACTION = frozenset({"BEGIN", "COMMIT", "ROLLBACK"})
_SHOWN = 110
"""Characters of a statement that are enough to find it."""


@dataclass(slots=True)
class Statements:
    """How often each was sent; `commits` and `rollbacks` end transactions."""

    sent: Counter[str] = field(default_factory=Counter[str])

    @property
    def commits(self) -> int:
        """COMMITs."""
        return self.sent["COMMIT"]

    @property
    def others(self) -> Counter[str]:
        """All but the beginnings and ends of transactions."""
        ends = {text: count for text, count in self.sent.items() if text.split()[0] not in _TRANSACTION}
        return Counter(ends)


@contextmanager
def statements(stack: Stack) -> Generator[Statements]:
    """Count the statements that all processes send while the context is open; they are there at its end."""
    log, found = stack.directory / "postgres" / "server.log", Statements()
    _log_all(stack, "all")
    begin = log.stat().st_size
    try:
        yield found
    finally:
        _log_all(stack, "none")
    found.sent.update(_read(log, begin))


def _log_all(stack: Stack, which: str) -> None:
    engine = stack.runtime.engine.execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"ALTER SYSTEM SET log_statement = '{which}'")
        connection.exec_driver_sql("SELECT pg_reload_conf()")
        while connection.exec_driver_sql("SHOW log_statement").scalar_one() != which:
            connection.exec_driver_sql("SELECT pg_sleep(0.05)")


def _read(log: Path, begin: int) -> Counter[str]:
    with log.open("rb") as file:
        file.seek(begin)
        text = file.read().decode("utf-8", "replace")
    entries = _BEGINNING.split(text)
    return Counter(_short(statement) for entry in entries if (statement := _statement(entry)))


def _statement(entry: str) -> str:
    found = _LINE.match(f" {entry}")
    return f" {entry}"[found.end() :] if found else ""


def _short(statement: str) -> str:
    return " ".join(statement.split())[:_SHOWN]
