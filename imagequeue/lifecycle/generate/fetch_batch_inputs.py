"""Fetch batch inputs: the images that lines of a batch name by URL, each once for the whole batch.

A row says which URL is due, so nothing is lost with a process: a try that is not ended is due again when its
lease is over. What is stored has the hash of its content as its key, as an image that came as data has.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

import structlog
from sqlalchemy import Connection, Engine

from imagequeue.domain.backoff import INPUT_FETCH, INPUT_STORING
from imagequeue.domain.errors import NotFound
from imagequeue.domain.ids import split_file_name
from imagequeue.domain.verdicts import InputRefused
from imagequeue.lifecycle.generate.inputs import FETCH_SECONDS, Inputs, InputUnavailable
from imagequeue.media.storage import StorageError
from imagequeue.store.batches.files import StoredFile, find_file
from imagequeue.store.batches.inputs import FILE_SCHEME, DueInput, claim_input, end_fetch
from imagequeue.store.database import one_statement
from imagequeue.store.jobs import input_images

log = structlog.get_logger()

INTERVAL_SECONDS = 1.0
"""Between two looks for URLs that are due, of the first place."""

HELP_SECONDS = 5.0
"""The same for the other places, which help where many URLs are due; a batch can wait so long for them."""

PLACES = 4
"""URLs that a process fetches at a time, beside those of single jobs: each waits for a stranger's server.
Half are for one account."""

LEASE_SECONDS = 2 * FETCH_SECONDS
"""Twice what a try may take, so that a lease never ends under a worker that is alive."""


@dataclass(frozen=True, slots=True)
class BatchInputs:
    """Fetches what is due. For as many threads as there are places."""

    engine: Engine
    inputs: Inputs
    random: Random = field(default_factory=Random)
    _running: Counter[UUID] = field(default_factory=Counter[UUID], init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def run_once(self) -> int:
        """Fetch until nothing is due; how many tries were made."""
        tries = 0
        while (due := self._claim()) is not None:
            try:
                self._try(due)
            finally:
                self._leave(due.account_id)
            tries += 1
        return tries

    def _claim(self) -> DueInput | None:
        """Take a place, and lease a URL for it, of an account that has fewer than half of the places."""
        with self._lock:
            full = [account_id for account_id, count in self._running.items() if count >= PLACES // 2]
            with one_statement(self.engine) as connection:
                due = claim_input(connection, full, LEASE_SECONDS)
            if due is not None:
                self._running[due.account_id] += 1
            return due

    def _leave(self, account_id: UUID) -> None:
        with self._lock:
            self._running[account_id] -= 1
            if not self._running[account_id]:
                del self._running[account_id]

    def _try(self, due: DueInput) -> None:
        name = "mask" if due.source.is_mask else "image"
        try:
            key = self._stored(name, due)
        except InputRefused as error:
            self._refuse(due, error.reason)
        except InputUnavailable as error:
            self._failed(due, str(error))
        except StorageError as error:
            log.warning("fetch_not_stored", batch_id=str(due.batch_id), reason=str(error))
            with self.engine.begin() as connection:
                end_fetch(connection, due, due_in=INPUT_STORING.first_seconds)
        else:
            with self.engine.begin() as connection:
                end_fetch(connection, due, storage_key=key)

    def _stored(self, name: str, due: DueInput) -> str:
        if not due.source.url.startswith(FILE_SCHEME):
            return self.inputs.store_url(name, due.source.url, self._keep)
        with self.engine.begin() as connection:
            found = _file(connection, due)
        if found is None:
            raise InputRefused(f"{name}: there is no such file")
        return self.inputs.store_file(name, found.storage_key, found.size_bytes, self._keep)

    def _keep(self, key: str) -> None:
        with self.engine.begin() as connection:
            input_images.keep(connection, key)

    def _failed(self, due: DueInput, reason: str) -> None:
        if due.tries >= INPUT_FETCH.tries:
            return self._refuse(due, f"{reason} ({due.tries} tries)")
        with self.engine.begin() as connection:
            end_fetch(connection, due, due_in=INPUT_FETCH.wait_seconds(due.tries, self.random))
        return None

    def _refuse(self, due: DueInput, reason: str) -> None:
        log.info("batch_input_refused", batch_id=str(due.batch_id), reason=reason)
        with self.engine.begin() as connection:
            end_fetch(connection, due, refusal=reason)


def _file(connection: Connection, due: DueInput) -> StoredFile | None:
    """The file that is named, if the account has it."""
    try:
        file_id = split_file_name(due.source.url.removeprefix(FILE_SCHEME))
    except NotFound:
        return None
    return find_file(connection, due.account_id, file_id)
