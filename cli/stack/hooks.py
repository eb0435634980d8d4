"""The functions of the program that `up` calls. They are handed in, so that tests need no program."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """All but the first are given the environment of the stack's processes. The last four run in a thread.

    Attributes:
        simulator_catalog: the text of the built-in catalog, for a simulator at the given URL, with so many
            calls a minute for each deployment.
        check: raises when the environment or the catalog is wrong, before anything is started with it.
        schema_is_newest: whether no migration is to run; asked once the database answers.
        first_key: called once the schema is there; makes the first API key and returns the text that tells
            it to the user; None if there is a key already.
        reload: asks every process to reload the catalog; returns the line that tells the user about it.
        all_beat: whether each of the processes with these pids has written a heartbeat since its start.
    """

    simulator_catalog: Callable[[str, int], str]
    check: Callable[[Mapping[str, str]], None]
    schema_is_newest: Callable[[Mapping[str, str]], bool]
    first_key: Callable[[Mapping[str, str]], str | None]
    reload: Callable[[Mapping[str, str]], str]
    all_beat: Callable[[Mapping[str, str], Collection[int]], bool]
