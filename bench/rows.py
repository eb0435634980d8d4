"""The rows there are. A row is a function that measures something and returns lines of the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from bench import (
    backlog,
    bodies,
    claim,
    edge,
    eta,
    held,
    idle,
    ingest,
    overhead,
    pictures,
    quota,
    retention,
    submit,
    throughput,
    turns,
    waiting_lines,
    waits,
    webhooks,
)
from bench.table import Line


@dataclass(frozen=True, slots=True)
class Row:
    """A row; `about` says what it measures and how long it takes."""

    about: str
    run: Callable[[], list[Line]]


def _quota(*dispatchers: int) -> Row:
    setting = quota.LONG
    about = f"2+4+6+12 RPM, real minutes, {' and '.join(map(str, dispatchers))} dispatchers, 8 min each"
    return Row(about, lambda: [line for count in dispatchers for line in quota.run(setting, count)])


ROWS = {
    "quota": _quota(1, 2, 4),
    "quota1": _quota(1),
    "quota2": _quota(2),
    "quota4": _quota(4),
    "quota-short": Row(
        "the same with windows of 10 s, 2 dispatchers, 90 s", partial(quota.run, quota.SHORT, 2)
    ),
    "claim": Row("the claim at a million waiting jobs, 2 min", claim.run),
    "eta": Row("200 jobs drained at 90 + 60 RPM, 2 min", eta.run),
    "ingest": Row("a million lines of a batch are validated, beside submits, 4 min", ingest.run),
    "retention": Row("submits and claims while a day of a million jobs is dropped, 5 min", retention.run),
    "turns": Row("who goes next before a million waiting jobs, 3 min", turns.run),
    "waits": Row("500 waits end at once with images of 1.5 MB, 1 min", waits.run_waits),
    "wake": Row("2,000 waits end in turn, and polls beside them, 1 min", waits.run_wake),
    "edge": Row("what strangers without a key cost in memory and in others' time, 1 min", edge.run),
    "bodies": Row("how long others wait for hostile bodies of JSON, 1 min", bodies.run),
    "pictures": Row("what hostile pictures of one account cost the others, 3 min", pictures.run),
    "webhooks": Row("how soon webhooks arrive, alone, beside a black hole, in a burst, 3 min", webhooks.run),
    "submit": Row("submits a second, beside no job and beside Celery, 1 min", submit.run_submit),
    "status": Row("polls a second beside a constant, up to a million jobs, 5 min", submit.run_status),
    "overhead": Row("submit to upstream call beside Celery's hop, 1 min", overhead.run),
    "throughput": Row("whole jobs a second beside a hand-written stack, 3 min", throughput.run_throughput),
    "backlog": Row("claims behind up to a million jobs, 2 min", backlog.run),
    "backlog-lines": Row("others beside a million waiting lines, and their stop, 6 min", waiting_lines.run),
    "backlog-lines-short": Row(
        "the same beside 20,000 lines, 4 min", partial(waiting_lines.run, waiting_lines.FEW_LINES)
    ),
    "idle": Row("what an idle stack takes, beside bare processes, 2 min", idle.run_idle),
    "cost": Row("CPU and SQL of a job, beside a hand-written stack, 3 min", throughput.run_cost),
    "memory": Row("what a worker holds for each of 1,000 calls, 2 min", held.run),
    "start": Row("the second start of `imagequeue up`, 1 min", idle.run_start),
    "processes": Row("submits and jobs with one and two processes, 4 min", throughput.run_processes),
}

DEFAULT = ("quota-short", "claim", "turns", "eta", "waits", "wake", "webhooks")
"""What runs without `--rows`: about a quarter of an hour."""
