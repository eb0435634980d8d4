"""The children's output, one file for each in `DATA_DIR/logs`.

A child writes into its file directly and not through the supervisor, so a busy supervisor never delays it.
All writers append, so `trim` works while they write: it copies the file and cuts it to length 0, and the next
line goes to its start. Lines that are written between the copy and the cut are lost.
"""

import shutil
from pathlib import Path
from typing import IO

LARGEST_BYTES = 16 * 1024 * 1024
"""Of a log file before it is trimmed. With the piece before it, ten logs take about 320 MiB."""

_TAIL_BYTES = 2000  # about twenty lines: enough for a traceback


class Logs:
    """The log files in `folder`, each up to 16 MiB, and one older piece of each."""

    def __init__(self, folder: Path, largest_bytes: int = LARGEST_BYTES) -> None:
        self.folder = folder
        self._largest_bytes = largest_bytes
        folder.mkdir(mode=0o700, exist_ok=True)

    def open(self, name: str) -> IO[bytes]:
        """The file of the child `name`, to append to."""
        return self._path(name).open("ab", buffering=0)

    def trim(self) -> None:
        """Move the content of files that have become too large to `NAME.log.1`."""
        for path in self.folder.glob("*.log"):
            if path.stat().st_size > self._largest_bytes:
                shutil.copyfile(path, path.with_name(f"{path.name}.1"))
                with path.open("r+b") as file:
                    file.truncate(0)

    def tail(self, name: str) -> str:
        """The last lines of the child `name`, at most 2000 bytes."""
        return tail(self._path(name))

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.log"


def tail(path: Path) -> str:
    """The last lines of a file, at most 2000 bytes."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return file.read().decode(errors="replace").strip()
