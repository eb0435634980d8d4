"""What a mutant is."""

from __future__ import annotations

from dataclasses import dataclass

LIFECYCLE, STORE = "imagequeue/lifecycle", "imagequeue/store"
CRASH = "tests/crash"


@dataclass(frozen=True, slots=True)
class Mutant:
    """A guard that is removed by replacing texts in files, and the tests that must then fail."""

    name: str
    edits: tuple[tuple[str, str, str], ...]  # file, what stands there, what shall stand there
    tests: tuple[str, ...]
