"""The strict log: one entry for every call that reached the simulator, in the order of the gate's decisions.

An entry is complete when it is made, because the gate decides everything about a call (admitted or not,
status, fault) at one instant, before the answer is built. It is written as one JSON line at that instant, so
a call is counted even if the simulator is killed afterwards. A simulator that starts on an old file continues
its sequence, and its quotas count the calls that the file says were admitted: a restart frees no place.
"""

import asyncio
import contextlib
import json
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TextIO

Outcome = Literal["admitted", "throttled", "refused", "unauthorized"]
FaultStage = Literal["before_body", "before_admission", "after_admission", "mid_response"]

PROMPT_CHARACTERS = 500
"""Of a prompt in an entry: enough to recognise the call, and a line stays short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One call. `outcome` says what the gate did, `status` what was answered.

    admitted: it took a place of the quota, whatever was answered (a 400 or an injected 500 too).
    throttled: 429, no place taken. refused: it ended before the quota was asked (unknown model, unreadable
    body, a fault before admission). unauthorized: wrong credentials.
    `status` is None when the answer has none (hang, reset). `operation` is generate, edit, or foreign for
    the simulator's own foreign traffic. `prompt` is cut to 500 characters. `reference` is the upstream's id.
    `billed_images` are those that the upstream charges for.
    """

    sequence: int
    upstream: str
    provider: str
    model: str | None
    quota: str | None
    operation: str
    monotonic_ns: int
    wall_time: str
    outcome: Outcome
    status: int | None
    fault: str | None
    fault_stage: FaultStage | None
    prompt: str | None
    image_count: int | None
    reference: str
    billed_images: int = 0

    def as_line(self) -> str:
        """The entry as JSON on one line."""
        return json.dumps({name: getattr(self, name) for name in _NAMES}, separators=(",", ":"))


_NAMES = tuple(field.name for field in fields(Entry))


class CallLog:
    """Entries in memory and, with a path, as JSON lines that survive the process."""

    def __init__(self, path: Path | None = None) -> None:
        self.entries: list[Entry] = []
        self._last = 0
        self._grown = asyncio.Event()
        self._file: TextIO | None = None
        if path is not None:
            self._load(path)
            self._file = path.open("a", buffering=1, encoding="utf-8")

    @property
    def last(self) -> int:
        """The newest sequence number. A reset does not start the sequence again."""
        return self._last

    def append(self, **values: Any) -> Entry:
        """Make the next entry, write it, and wake the calls of `wait_after`."""
        self._last += 1
        entry = Entry(sequence=self._last, **values)
        self.entries.append(entry)
        self._write(entry.as_line())
        self._grown.set()
        self._grown = asyncio.Event()
        return entry

    def after(self, sequence: int, upstream: str | None = None) -> list[Entry]:
        """Entries newer than `sequence`, of one upstream or of all."""
        start = bisect_right(self.entries, sequence, key=lambda entry: entry.sequence)
        return [entry for entry in self.entries[start:] if upstream in (None, entry.upstream)]

    async def wait_after(self, sequence: int, upstream: str | None, seconds: float) -> list[Entry]:
        """Entries newer than `sequence`. If there are none, wait up to `seconds` for the first."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.after(sequence, upstream):
                    await self._grown.wait()
        return self.after(sequence, upstream)

    def admitted_ns(self, quota: str) -> list[int]:
        """Admission times of one quota, ascending, in nanoseconds of the monotonic clock."""
        return [
            entry.monotonic_ns
            for entry in self.entries
            if entry.quota == quota and entry.outcome == "admitted"
        ]

    def reset(self) -> None:
        """Drop all entries. The file gets a line that makes a later start drop them as well."""
        self.entries.clear()
        self._write(json.dumps({"reset": self._last}))

    def close(self) -> None:
        """Close the file; the log must not be appended to afterwards."""
        if self._file is not None:
            self._file.close()

    def _write(self, line: str) -> None:
        if self._file is not None:
            self._file.write(line + "\n")

    def _load(self, path: Path) -> None:
        for line in _whole_lines(path):
            if "reset" in line:
                self.entries.clear()
                self._last = line["reset"]
            else:
                entry = Entry(**{name: line[name] for name in _NAMES if name in line})
                self.entries.append(entry)
                self._last = entry.sequence


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    # A killed process may leave half a line at the end: it is cut off, or the next line would join it.
    if not path.exists():
        return
    text = path.read_bytes()
    whole = text.rfind(b"\n") + 1
    if whole < len(text):
        with path.open("r+b") as file:
            file.truncate(whole)
    for line in text[:whole].splitlines():
        yield json.loads(line)
