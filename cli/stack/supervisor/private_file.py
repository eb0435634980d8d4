"""Files that only their owner may read, and that are written whole or not at all."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def replace(path: Path, text: str) -> None:
    """Put `text` into `path`, mode 0600, by a rename: a reader sees the old text or the new one."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # mkstemp makes it 0600
    unfinished = Path(name)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 -- a descriptor, not a path
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def read_or_make(path: Path, make: Callable[[], str]) -> str:
    """The text in `path`. If there is no such file, `make` returns the text, and it is stored."""
    if not path.exists():
        replace(path, make())
    return path.read_text(encoding="utf-8").strip()
