"""Life: after the run everything works, without a person's help."""

from __future__ import annotations

from collections import Counter

from chaos.evidence import Evidence, Finding

FRESH_SECONDS = 15
"""The age of the last heartbeat of a process that works: heartbeats come every 2 s."""
WORKERS = 7
"""Worker processes of the stack: two for each of three queues, and the one for backfills."""


def no_process_needs_a_hand(evidence: Evidence) -> Finding:
    """The supervisor runs, every process sends heartbeats, and a new job is served."""
    kinds = Counter(str(row["kind"]) for row in evidence.tables["processes"] if row["age"] < FRESH_SECONDS)
    lives = Counter(life.name for life in evidence.lives)
    restarts = sum(count - 1 for count in lives.values())
    wrong = list(evidence.hands)
    if kinds["dispatcher"] < 1 or kinds["worker"] < WORKERS:
        wrong.append(f"heartbeats: {dict(kinds)}")
    counts = {"processes": len(lives), "restarts": restarts, **{f"{k} beats": n for k, n in kinds.items()}}
    return Finding("no process needs a hand", counts, wrong)
