"""The lines of the backfill, what its upstreams do to them, and what is left of it afterwards."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

from chaos.upstreams import BACKFILL_UPSTREAM_MODEL

LINES = 10_000
REFUSED_SHARE = FAILING_SHARE = 0.05
"""Of the prompts are refused until they are retried; of the calls are answered with 500, always."""
REFUSED = "kraken"
"""A word of prompts: the upstreams of the backfill refuse it."""

REFUSAL: Mapping[str, Any] = {
    "kind": "status",
    "status": 400,
    "code": "moderation_blocked",
    "message": "Your request was rejected by the safety system.",
    "match": {"model": BACKFILL_UPSTREAM_MODEL, "prompt_contains": REFUSED},
}
FAILURE: Mapping[str, Any] = {
    "kind": "status",
    "status": 500,
    "probability": FAILING_SHARE,
    "match": {"model": BACKFILL_UPSTREAM_MODEL},
}

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Round:
    """What a batch was when the command had ended: its body, and the lines of its two files."""

    batch: Row
    output: Sequence[Row]
    errors: Sequence[Row]

    @property
    def failed(self) -> frozenset[str]:
        """The custom_ids of the error file."""
        return frozenset(str(line["custom_id"]) for line in self.errors)


@dataclass(slots=True)
class BackfillRecord:
    """A backfill. Times are seconds since the epoch.

    Attributes:
        prompts: the prompt of each line, by its custom_id.
        rounds: the batch at its first end, and at its end after the retry.
        retried_at: when the failed lines were retried; None: they were not.
        folder: the sha256 of each file in the folder, by its name.
        manifest: the rows of the manifest.
        exits: how often the command ended with each code; that of a kill is -9.
        wrong: ends of the command that nothing explains.
    """

    prompts: Mapping[str, str]
    rounds: list[Round] = field(default_factory=list[Round])
    retried_at: float | None = None
    folder: dict[str, str] = field(default_factory=dict[str, str])
    manifest: list[Row] = field(default_factory=list[Row])
    exits: Counter[int] = field(default_factory=Counter[int])
    wrong: list[str] = field(default_factory=list[str])

    @property
    def custom_ids(self) -> dict[str, str]:
        """The custom_id of each line, by its prompt."""
        return {prompt: custom_id for custom_id, prompt in self.prompts.items()}


def prompts(seed: int, count: int) -> dict[str, str]:
    """The prompt of each line, by its custom_id; no two are equal."""
    refused = set(Random(seed + 3).sample(range(count), round(count * REFUSED_SHARE)))
    return {
        f"line {number}": f"chaos {seed} line {number:06d}{f' {REFUSED}' if number in refused else ''}"
        for number in range(count)
    }


def write_csv(path: Path, lines: Mapping[str, str]) -> None:
    """Write the file of the backfill."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("custom_id", "prompt"), *lines.items()])


def read_folder(folder: Path) -> dict[str, str]:
    """The sha256 of each file below a folder, by its name."""
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def read_manifest(path: Path) -> list[Row]:
    """The rows of a manifest."""
    with path.open(newline="", encoding="utf-8") as file:
        return [dict(row) for row in csv.DictReader(file)]
