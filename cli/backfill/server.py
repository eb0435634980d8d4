"""`/v2/batches` and `/v1/files` as the command line uses them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import quote

from cli.remote import Remote, RemoteAway
from imagequeue.domain.backoff import BATCH_WATCHING

Body = dict[str, Any]
R = TypeVar("R")

LONGEST_OUTAGE_SECONDS = 600.0
"""How long a server that has answered before may be away: a restart or an upgrade takes less."""

RESULTS_AT_ONCE = 100
"""Results that are downloaded and remembered together: seconds of work that a kill repeats."""

_STORING_SECONDS = 180.0  # the server answers an upload when the storage has the file
_BATCHES = "/v2/batches"
_BATCH = frozenset({"id", "status", "counts"})
_ESTIMATE = frozenset({"id", "status", "errors", "price_usd", "seconds", "limited_by"})
_WHOLE = _BATCH | {"running", "speed", "eta_seconds", "why_not_faster"}


class BatchServer:
    """A server with batches."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    def upload(self, path: Path, told: Callable[[int], None], *, expires_seconds: int | None = None) -> str:
        """Send a file of lines; its id. `told` gets the bytes of each piece that is sent.

        The server deletes it after `expires_seconds`; None: it stays until the account deletes it.

        Raises:
            RemoteRefusal, RemoteAway: as `Remote.ask`, and so for all the others here.
        """
        expiry = {} if expires_seconds is None else _expiry(expires_seconds)
        with path.open("rb") as file:
            files = {"file": ("lines.jsonl", _ToldFile(file, told), "application/jsonl")}
            answer = self._remote.ask(
                "POST",
                "/v1/files",
                {"id"},
                data={"purpose": "batch", **expiry},
                files=files,
                timeout=_STORING_SECONDS,
            )
        return answer["id"]

    def create(self, terms: Mapping[str, Any], idempotency_key: str) -> str:
        """Create a batch, or find the one that was created with this key; its id."""
        headers = {"Idempotency-Key": idempotency_key}
        return self._remote.ask("POST", _BATCHES, _BATCH, json=dict(terms), headers=headers)["id"]

    def ask_for_estimate(self, file_id: str) -> Body:
        """Have a file read; its estimate as far as it is."""
        asked = {"input_file_id": file_id}
        return self._remote.ask("POST", f"{_BATCHES}/estimate", _ESTIMATE, json=asked)

    def estimate(self, estimate_id: str) -> Body:
        """An estimate as far as it is."""
        return self._remote.ask("GET", f"{_path(estimate_id)}/estimate", _ESTIMATE)

    def progress(self, batch_id: str) -> Body:
        """A batch, how fast it goes, and why not faster."""
        return self._remote.ask("GET", _path(batch_id), _WHOLE)

    def change(self, batch_id: str, terms: Mapping[str, Any]) -> Body:
        """Change the terms of a batch."""
        return self._remote.ask("PATCH", _path(batch_id), _WHOLE, json=dict(terms))

    def act(self, batch_id: str, verb: str, body: Mapping[str, Any] | None = None) -> Body:
        """Pause, resume, cancel or retry a batch."""
        given = {} if body is None else {"json": dict(body)}
        return self._remote.ask("POST", f"{_path(batch_id)}/{verb}", _WHOLE, **given)

    def results(self, batch_id: str, after: int) -> list[Body]:
        """The next results behind a cursor; none: no further line has finished."""
        return self._remote.lines(f"{_path(batch_id)}/results", {"after": after, "limit": RESULTS_AT_ONCE})

    def errors(self, batch_id: str) -> Sequence[Body]:
        """The errors of the lines, by code."""
        return self._remote.ask("GET", f"{_path(batch_id)}/errors", {"data"})["data"]

    def batches(self, states: str | None, count: int) -> Sequence[Body]:
        """The newest batches."""
        query: dict[str, str | int] = {"limit": count} | ({"state": states} if states else {})
        return self._remote.ask("GET", _BATCHES, {"data"}, params=query)["data"]


class Patience:
    """Tolerates that a server which has answered before is away for a while."""

    def __init__(self) -> None:
        self._answered_at: float | None = None

    def ask(self, call: Callable[[], R]) -> R:
        """What the call returns, once the server answers.

        Raises:
            RemoteAway: it has never answered, or not for `LONGEST_OUTAGE_SECONDS`.
        """
        failures = 0
        while True:
            try:
                answer = call()
            except RemoteAway:
                at = self._answered_at
                if at is None or time.monotonic() - at > LONGEST_OUTAGE_SECONDS:
                    raise
                failures += 1
                time.sleep(BATCH_WATCHING.full_seconds(failures))
            else:
                self._answered_at = time.monotonic()
                return answer


class _ToldFile:
    """A file that tells how much of it was read. httpx asks for its length by its descriptor."""

    def __init__(self, file: IO[bytes], told: Callable[[int], None]) -> None:
        self._file = file
        self._told = told

    def fileno(self) -> int:
        return self._file.fileno()

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(size)
        self._told(len(piece))
        return piece


def _expiry(seconds: int) -> dict[str, str]:
    """The fields of a form, as OpenAI's clients write them."""
    return {"expires_after[anchor]": "created_at", "expires_after[seconds]": str(seconds)}


def _path(batch_id: str) -> str:
    return f"{_BATCHES}/{quote(batch_id, safe='')}"
