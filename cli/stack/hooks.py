"""What `up` asks of the rest of the program; handed in, so that the stack can be tested without it."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """What is asked, with the environment of the stack's processes. The last three are asked in a thread.

    Attributes:
        simulator_catalog: the text of the built-in catalog, for a simulator at the given URL.
        check: raises when the environment or the catalog is wrong, before anything is started with it.
        first_key: called once the schema is there; makes the first API key and returns what to tell the user,
            or returns None when there is one.
        reload: asks every process to take up the catalog again; returns what to tell the user.
        all_beat: whether each of the processes with these pids has written a heartbeat since its start.
    """

    simulator_catalog: Callable[[str], str]
    check: Callable[[Mapping[str, str]], None]
    first_key: Callable[[Mapping[str, str]], str | None]
    reload: Callable[[Mapping[str, str]], str]
    all_beat: Callable[[Mapping[str, str], Collection[int]], bool]
