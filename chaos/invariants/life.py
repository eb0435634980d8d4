"""Life: afterwards everything runs, and nobody had to do anything for it."""

from __future__ import annotations

from collections import Counter

from chaos.evidence import Evidence, Finding

FRESH_SECONDS = 15
WORKERS = 6


def no_process_needs_a_hand(evidence: Evidence) -> Finding:
    """The supervisor brought everything back, everybody beats, and a new job is served."""
    kinds = Counter(str(row["kind"]) for row in evidence.tables["processes"] if row["age"] < FRESH_SECONDS)
    lives = Counter(life.name for life in evidence.lives)
    restarts = sum(count - 1 for count in lives.values())
    wrong = list(evidence.hands)
    if kinds["dispatcher"] < 1 or kinds["worker"] < WORKERS:
        wrong.append(f"heartbeats: {dict(kinds)}")
    counts = {"processes": len(lives), "restarts": restarts, **{f"{k} beats": n for k, n in kinds.items()}}
    return Finding("no process needs a hand", counts, wrong)
