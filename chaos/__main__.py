"""`python -m chaos`: one run, then a line for each invariant. Exits with 1 if one was violated."""

from __future__ import annotations

import os
import platform
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import SystemRandom

from chaos.backfill_lines import LINES
from chaos.checker import check, line
from chaos.evidence import Evidence
from chaos.run import Plan, run
from imagequeue.signals import exit_on

SECONDS = 270.0
"""Length of the faults: every kind of fault happens at least once."""
LEAST = {
    "jobs": 2000,
    "faults": 20,
    "clients that joined": 20,
    "kills of the command line": 10,
    "hostile connections": 500,
}
"""Of a run of full length; fewer show too little. Who joins is a client that had lost its answer."""


def main() -> int:
    """Make a run. CHAOS_SEED is its seed (any by default), CHAOS_SECONDS the length of its faults.

    CHAOS_LINES is the number of lines of the backfill. CHAOS_KEEP names a new directory in which everything
    that the run writes stays.
    """
    exit_on(signal.SIGTERM)  # as an exception, so that everything that was started is stopped
    seed = int(os.environ.get("CHAOS_SEED") or SystemRandom().randrange(1, 100_000))
    seconds = float(os.environ.get("CHAOS_SECONDS") or SECONDS)
    lines = int(os.environ.get("CHAOS_LINES") or LINES)
    began = time.monotonic()
    _say(
        f"chaos   seed {seed}, {seconds:.0f} s of faults, {lines} lines; again: make chaos CHAOS_SEED={seed}"
    )
    _say(f"on      Python {platform.python_version()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as directory:
        kept = os.environ.get("CHAOS_KEEP")
        place = Path(kept) if kept else Path(directory)
        place.mkdir(parents=True, exist_ok=True)
        if any(place.iterdir()):
            _say(f"{place} is not empty: what an earlier run wrote would count for this one")
            return 2
        plan = Plan(seed, seconds, lines, place)
        evidence = run(plan, lambda text: _say(f"{time.monotonic() - began:6.1f}  {text}"))
        findings = check(evidence)
    _summary(evidence)
    for finding in findings:
        _say(line(finding))
    joined = sum(replies[-1].joined for replies in evidence.notes.waits.values())
    found = {
        "jobs": len(evidence.orders),
        "faults": len(evidence.faults),
        "clients that joined": joined,
        "kills of the command line": evidence.backfill.exits[-signal.SIGKILL],
        "hostile connections": len(evidence.hostile),
    }
    enough = all(found[name] >= least for name, least in LEAST.items())
    violated = sum(bool(finding.violations) for finding in findings)
    if seconds >= SECONDS and not enough:
        _say(f"FAIL  too small a run: {found}, and at least {LEAST} show enough")
    counts = f"{len(evidence.jobs)} jobs, {len(evidence.faults)} faults"
    verdict = f"{violated} of {len(findings)} invariants violated"
    _say(f"seed {seed}: {counts}, {verdict}, {time.monotonic() - began:.0f} s")
    return int(bool(violated) or (seconds >= SECONDS and not enough))


def _summary(evidence: Evidence) -> None:
    kinds = Counter(fault.kind for fault in evidence.faults)
    for kind, count in sorted(kinds.items()):
        _say(f"faults  {count:3}  {kind}")
    for kind, count in sorted(Counter(spell.kind for spell in evidence.spells).items()):
        _say(f"spells  {count:3}  {kind}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
