"""What a stack has written to Postgres's log and sent to Redis so far."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

from bench.stack import Stack

_WAL = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::int8"


class Traffic(NamedTuple):
    """Bytes of write-ahead log, and commands that Redis has done; both grow."""

    wal_bytes: int
    redis_commands: int

    @classmethod
    def of(cls, stack: Stack) -> Self:
        """As it is now."""
        stats: dict[str, Any] = stack.runtime.redis.info("stats")  # pyright: ignore[reportUnknownMemberType]
        return cls(stack.rows(_WAL)[0][0], stats["total_commands_processed"])

    def since(self, before: Traffic) -> Traffic:
        """What has come since `before`."""
        return Traffic(self.wal_bytes - before.wal_bytes, self.redis_commands - before.redis_commands)
