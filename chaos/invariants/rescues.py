"""Rescues: no live process is taken for dead, and no call is repeated because the storage is away."""

from __future__ import annotations

from uuid import UUID

from chaos.evidence import Evidence, Finding, moment_of

_STOPPED_SECONDS = 15.0
"""A process that is taken for dead stood still for 20 s. Less, because it may have been between two beats."""

_AFTERWARDS_SECONDS = 10.0
"""After a process goes on, a rescue that was begun before may still be logged for so long."""


def no_attempt_of_a_live_process_was_rescued(evidence: Evidence) -> Finding:
    """The process of every rescued attempt had ended, or was stopped for long enough to be taken for dead."""
    rescued = [line for line in evidence.logged if line.get("event") == "attempt_rescued"]
    wrong, dead, stopped = list[str](), 0, 0
    for line in rescued:
        pid = evidence.pids.get(str(line["process_id"]), 0)
        if _had_ended(evidence, pid, moment_of(line["timestamp"])):
            dead += 1
        elif _stood_still(evidence, pid, moment_of(line["timestamp"])):
            stopped += 1
        else:
            wrong.append(f"attempt {line['attempt_id']} of pid {pid} at {line['timestamp']}")
    counts = {"rescued": len(rescued), "of processes that ended": dead, "that stood still": stopped}
    return Finding("no attempt of a live process was rescued", counts, wrong)


def _had_ended(evidence: Evidence, pid: int, moment: float) -> bool:
    return not any(life.pid == pid and life.last >= moment for life in evidence.lives)


def _stood_still(evidence: Evidence, pid: int, moment: float) -> bool:
    return any(
        fault.pid == pid
        and fault.kind.startswith("SIGSTOP")
        and fault.began + _STOPPED_SECONDS <= moment <= fault.ended + _AFTERWARDS_SECONDS
        for fault in evidence.faults
    )


def storage_away_repeats_no_call(evidence: Evidence) -> Finding:
    """An attempt whose image was refused by the storage succeeds with it, unless its process died."""
    postponed = {
        UUID(str(line["storage_key"]).split("/")[2])
        for line in evidence.logged
        if line.get("event") == "put_failed"
    }
    states = {attempt["id"]: attempt for attempt in evidence.tables["attempts"]}
    hurt = {fault.pid for fault in evidence.faults if fault.pid}
    wrong = [
        f"attempt {id_} is {states[id_]['state']}"
        for id_ in postponed
        if id_ in states
        and states[id_]["state"] != "SUCCEEDED"
        and evidence.pids.get(str(states[id_]["process_id"]), 0) not in hurt
    ]
    counts = {"puts refused": evidence.refused_puts, "images that waited": len(postponed)}
    return Finding("while the storage is away no call is repeated", counts, wrong)
