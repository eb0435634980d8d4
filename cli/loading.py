"""Imports of a whole program, without the collections of garbage that would come in between."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager


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
