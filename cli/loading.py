"""Imports of a whole program, without the collections of garbage that would come in between."""

from __future__ import annotations

import gc
import sys
from collections.abc import Generator
from contextlib import contextmanager
from types import ModuleType
from typing import cast

_COLOURS = {"rich", "pygments"}


@contextmanager
def loading() -> Generator[None]:
    """Import in this context: no garbage is looked for meanwhile, and later not among what was imported.

    Modules make a hundred thousand objects that live as long as the process. Each full collection would
    go through all of them: two or three during the imports (a sixth of their time), and all that follow.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def loading_process() -> Generator[None]:
    """As `loading`, for a process that no person looks at: its libraries do without rich and pygments.

    structlog and httpx import them where they are installed, for colours and for a command line of their own:
    5 MB, and a fifteenth of the time.
    """
    modules = cast("dict[str, ModuleType | None]", sys.modules)
    hidden = dict.fromkeys(_COLOURS - modules.keys())
    modules |= hidden  # where a name stands for None, Python says that there is no such module
    try:
        with loading():
            yield
    finally:
        for name in hidden:
            del modules[name]
