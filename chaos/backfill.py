"""The backfill: `imagequeue backfill run` on a large file, killed again and again, then a retry."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from random import Random
from typing import Any, Self

import httpx

from chaos.backfill_lines import (
    FAILURE,
    REFUSAL,
    BackfillRecord,
    Round,
    Row,
    read_folder,
    read_manifest,
    write_csv,
)
from chaos.stack import ROOT
from chaos.upstreams import BACKFILL_MODEL

EARLY_KILLS = 6
EARLY_SECONDS, LATER_SECONDS = (0.5, 4.0), (4.0, 25.0)
"""After so long the command is killed: the first times while it sends the file and creates the batch."""
PAUSE_SECONDS = 1.0
"""Before the command is started again, and between two requests for a file while the API is away."""

_DONE, _FAULT, _SOME_FAILED = 0, 1, 3
"""Exit codes: the second says that the same command goes on."""


class RunOver(Exception):
    """The run ended before the backfill did."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the backfill runs: the API with a key for it, the simulator, and a directory for its files."""

    url: str
    api_key: str
    simulator_url: str
    directory: Path


class Backfill:
    """Runs the backfill in a thread; `record` is what is left of it."""

    def __init__(
        self, place: Place, lines: Mapping[str, str], random: Random, say: Callable[[str], None]
    ) -> None:
        self.record = BackfillRecord(lines)
        self.faults: list[int] = []
        self._place, self._random, self._say = place, random, say
        self._source, self._folder = place.directory / "prompts.csv", place.directory / "pictures"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run_recorded, name="backfill", daemon=True)

    def __enter__(self) -> Self:
        write_csv(self._source, self.record.prompts)
        self.faults = [self._arm(REFUSAL), self._arm(FAILURE)]
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def join(self, seconds: float) -> bool:
        """Wait until everything is done; False: it took longer."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run_recorded(self) -> None:
        try:
            self._run()
        except (RunOver, httpx.HTTPError, OSError, ValueError, KeyError) as error:
            self.record.wrong.append(f"{type(error).__name__}: {error}")

    def _run(self) -> None:
        run = ["run", str(self._source), "--yes", "--max-failure-rate", "1", "--out", str(self._folder)]
        run += ["--model", BACKFILL_MODEL, "--ratio", "1:1", "--format", "jpeg"]
        if not self._until_ended(run, {_DONE, _SOME_FAILED}):
            return
        self._read_round()
        self._disarm(self.faults[0])
        self.record.retried_at = time.time()
        if self._until_ended(["retry", str(self._folder), "--json"], {_DONE}) and self._until_ended(
            run, {_DONE, _SOME_FAILED}
        ):
            self._read_round()
        self.record.folder = read_folder(self._folder)
        self.record.manifest = read_manifest(self._folder / "manifest.csv")

    def _until_ended(self, words: Sequence[str], ends: set[int]) -> bool:
        """Start the command until it ends by itself as it shall; False: it did otherwise, or the run ends."""
        while not self._over.is_set():
            code = self._start(words)
            self.record.exits[code] += 1
            if code in ends:
                self._say(f"backfill {words[0]} ended with {code}")
                return True
            if code not in {_FAULT, -signal.SIGKILL}:
                self.record.wrong.append(f"`backfill {words[0]}` ended with {code}: {self._told()}")
                return False
            self._over.wait(PAUSE_SECONDS)
        return False

    def _start(self, words: Sequence[str]) -> int:
        """Start the command once, and kill it after a while; its exit code."""
        is_early = self.record.exits[-signal.SIGKILL] < EARLY_KILLS
        with self._output.open("ab") as output:
            process = subprocess.Popen(  # noqa: S603  # our own program
                [sys.executable, "-P", "-m", "cli", "backfill", *words],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=self._environment(),
            )
        try:
            return process.wait(self._random.uniform(*(EARLY_SECONDS if is_early else LATER_SECONDS)))
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("IMAGEQUEUE_")}
        own = {"IMAGEQUEUE_URL": self._place.url, "IMAGEQUEUE_KEY": self._place.api_key}
        return {**inherited, **own, "PYTHONPATH": str(ROOT)}

    @property
    def _output(self) -> Path:
        return self._place.directory / "backfill.out"

    def _told(self) -> str:
        """The last line that the command has written."""
        lines = self._output.read_text(encoding="utf-8", errors="replace").splitlines()
        return lines[-1] if lines else "it told nothing"

    def _read_round(self) -> None:
        state = json.loads((self._folder / ".imagequeue.json").read_bytes())
        batch = self._read(f"/v2/batches/{state['batch_id']}").json()
        found = [self._lines(batch[name]) for name in ("output_file_id", "error_file_id")]
        self.record.rounds.append(Round(batch, *found))

    def _lines(self, file_id: str | None) -> list[Row]:
        if file_id is None:
            return []
        return [json.loads(line) for line in self._read(f"/v1/files/{file_id}/content").text.splitlines()]

    def _read(self, path: str) -> httpx.Response:
        """The answer to a GET, which is repeated while the API is away."""
        headers = {"api-key": self._place.api_key}
        while not self._over.is_set():
            try:
                answer = httpx.get(f"{self._place.url}{path}", headers=headers, timeout=60, trust_env=False)
            except httpx.HTTPError:
                answer = None
            if answer is not None and answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
                return answer.raise_for_status()
            self._over.wait(PAUSE_SECONDS)
        raise RunOver(path)

    def _arm(self, fault: Mapping[str, Any]) -> int:
        answer = httpx.post(
            f"{self._place.simulator_url}/_sim/faults", json=fault, trust_env=False, timeout=30
        )
        return int(answer.raise_for_status().json()["id"])

    def _disarm(self, fault_id: int) -> None:
        url = f"{self._place.simulator_url}/_sim/faults/{fault_id}"
        httpx.delete(url, trust_env=False, timeout=30).raise_for_status()
