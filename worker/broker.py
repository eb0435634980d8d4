"""Kombu's transport for Redis, with one client for everything that a channel does.

Kombu makes a new client for each message that it takes, acknowledges or publishes, and each new client copies
a table of all commands of Redis: a third of what the consuming thread does for a message. A client takes a
connection of its pool for each command, so threads may share it.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from kombu.transport import redis


class SharedClientChannel(redis.Channel):
    """A channel that makes a new client only when its pool of connections is another one."""

    _shared: Any

    def __init__(self, *args: Any, **options: Any) -> None:
        self._shared = None
        super().__init__(*args, **options)

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Generator[Any]:
        """Kombu's hook: the client for some commands."""
        if client is None and (self._shared is None or self._shared.connection_pool is not self.pool):
            self._shared = self.Client(connection_pool=self.pool)
        yield client or self._shared


class Transport(redis.Transport):
    """Named in `broker_transport`; of a Unix socket's URL Kombu reads another transport, its own."""

    Channel = SharedClientChannel
