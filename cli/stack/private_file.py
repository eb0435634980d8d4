"""Files that only their owner may read, written whole or not at all."""

import os
import secrets
import tempfile
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


def secret(path: Path) -> str:
    """The secret in `path`; the first call makes it: 32 random bytes in URL-safe base64 without padding."""
    if not path.exists():
        replace(path, secrets.token_urlsafe(32))
    return path.read_text(encoding="utf-8").strip()
