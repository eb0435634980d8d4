"""Storages and databases that refuse, for a time."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event

from imagequeue.media.local import LocalStorage
from imagequeue.media.storage import StorageUnavailable


class RefusingStorage(LocalStorage):
    """A directory that refuses everything while `away` is set; `refused` is set at the first refusal."""

    def __init__(self, storage: LocalStorage) -> None:
        super().__init__(storage.directory)
        self.away = threading.Event()
        self.refused = threading.Event()

    def put(self, key: str, content: bytes, media_type: str) -> None:
        self._refuse()
        super().put(key, content, media_type)

    def get(self, key: str) -> bytes:
        self._refuse()
        return super().get(key)

    def exists(self, key: str) -> bool:
        self._refuse()
        return super().exists(key)

    def _refuse(self) -> None:
        if self.away.is_set():
            self.refused.set()
            raise StorageUnavailable("it is away, for the test")


@contextmanager
def breaking_commit(engine: Engine, statement: str, *, after: bool, times: int = 1) -> Generator[list[str]]:
    """Break the connection at the first commits of transactions with this statement; what was broken.

    `after`: the server has committed already, and only its answer is lost.
    """
    broken = list[str]()
    marked = threading.local()

    def on_execute(connection: Any, cursor: Any, said: str, *_: Any) -> None:
        del connection, cursor
        marked.on = getattr(marked, "on", False) or statement in said

    def on_begin(connection: Any) -> None:
        del connection
        marked.on = False

    def on_commit(connection: Any) -> None:
        if len(broken) == times or not marked.on:
            return
        broken.append(statement)
        driver = connection.connection.driver_connection
        if after:
            driver.commit()
        driver.close()

    listeners = {"before_cursor_execute": on_execute, "begin": on_begin, "commit": on_commit}
    for name, listener in listeners.items():
        event.listen(engine, name, listener)
    try:
        yield broken
    finally:
        for name, listener in listeners.items():
            event.remove(engine, name, listener)
