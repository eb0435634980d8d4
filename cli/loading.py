"""Imports of a whole program, without the collections of garbage that would come in between."""

from __future__ import annotations

import gc
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from types import ModuleType


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
    hidden = _WithoutColours()
    sys.meta_path.insert(0, hidden)
    try:
        with loading():
            yield
    finally:
        sys.meta_path.remove(hidden)


class _WithoutColours(MetaPathFinder):
    """Finds nothing, and refuses what writes colours as if it were not installed."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        """Python's hook, for each import of a module that is not there yet."""
        del path, target
        if fullname in {"rich", "pygments"}:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
