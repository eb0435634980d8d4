"""Where the programs are (`api`, `worker`, `cli`, `simulator`, `migrations`), and how Python finds them.

In a checkout they are beside this package. In the wheel they are inside it, in `_programs`: site-packages is
everybody's, and a top-level `api` or `cli` of ours there would overwrite that of another distribution, or be
imported in its place. So the console script, and each process that it starts, puts that folder first on its
own import path.

Each process is started by the path of this file, which needs neither an import path nor a current folder to
be found. So this file imports nothing of the project before it has done its work.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).absolute().parent
_IN_WHEEL: Final = _PACKAGE / "_programs"

FOLDER: Final = _IN_WHEEL if _IN_WHEEL.is_dir() else _PACKAGE.parent
"""The folder with the programs, and with catalog.toml."""

# `-P` keeps the folder of the file, whose modules are not top-level ones, off the import path.
IMAGEQUEUE: Final = (sys.executable, "-P", str(_PACKAGE / "programs.py"))
"""The command that is `imagequeue`, in a checkout that is not installed too."""


def main() -> None:
    """Run the command that the command line names: the console script `imagequeue`."""
    sys.path.insert(0, str(FOLDER))
    import_module("cli.main").main()


if __name__ == "__main__":
    main()
