"""What the processes below this one use: CPU time, and memory, by what they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import psutil

_PROGRAMS = {"postgres": "postgres", "valkey-server": "redis", "redis-server": "redis", "celery": "celery"}
_MODULES = ("bench.counterparts", "bench.load_client", "uvicorn", "celery", "simulator")
_COMMANDS = ("api", "dispatcher", "worker", "up")
_MIB = 1024 * 1024


def cpu_seconds(process: psutil.Process | None = None) -> dict[str, float]:
    """CPU seconds so far of all descendants, by name; those that have ended count for their parent."""
    used = defaultdict[str, float](float)
    for child in (process or psutil.Process()).children(recursive=True):
        try:
            times = child.cpu_times()
            name = name_of(child.cmdline())
        except psutil.NoSuchProcess:
            continue
        ended = times.children_user + times.children_system if name == "postgres" else 0.0
        used[name] += times.user + times.system + ended
    return used


def pss_mebibytes(process: psutil.Process) -> list[tuple[str, float]]:
    """The proportional set size of each descendant, by name: what is shared counts in parts."""
    found = [(name_of(child.cmdline()), child) for child in process.children(recursive=True)]
    return [(name, child.memory_full_info().pss / _MIB) for name, child in found]


def since(before: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    """What was used between two readings, without those that used nothing."""
    return {name: used for name in now if (used := now[name] - before.get(name, 0.0)) > 0}


def name_of(command: Sequence[str]) -> str:
    """What a process is, by its command line: `worker generate.interactive`, `postgres`, `redis`."""
    program = command[0].rpartition("/")[2].partition(" ")[0].partition(":")[0] if command else ""
    if program in _PROGRAMS:
        return _PROGRAMS[program]
    for module in _MODULES:
        if module in command:
            return f"{module} {_application(command)}".strip()
    for command_name in _COMMANDS:
        if command_name in command:
            return f"{command_name} {_queues(command)}".strip()
    return program


def _application(command: Sequence[str]) -> str:
    return next((word.partition(":")[0].rpartition(".")[2] for word in command if "baselines" in word), "")


def _queues(command: Sequence[str]) -> str:
    return command[command.index("--queues") + 1] if "--queues" in command else ""
