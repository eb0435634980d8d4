"""`imagequeue up` with dummy children: `dummy_up.py DATA_DIR STOP_TIMEOUT`; DUMMY_FOLDER is set."""

import os
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

from cli.stack.console import Console
from cli.stack.hooks import Hooks
from cli.stack.options import Options
from cli.stack.supervisor.errors import StackError
from cli.stack.up import up

FOLDER = Path(os.environ["DUMMY_FOLDER"])
CATALOG = '[[deployments]]\nname = "one"\nendpoint = "{}"\nkey_env = "DUMMY_KEY"\n'


def check(env: Mapping[str, str]) -> None:
    """The catalog was written before."""
    if not Path(env["IMAGEQUEUE_CATALOG"]).exists():
        raise StackError("there is no catalog")


def schema_is_newest(_env: Mapping[str, str]) -> bool:
    """Whether the test says so."""
    return (FOLDER / "schema-is-newest").exists()


def first_key(env: Mapping[str, str]) -> str | None:
    """A key, the first time."""
    made = FOLDER / "key"
    if made.exists():
        return None
    made.write_text(env["IMAGEQUEUE_DATABASE_URL"])
    return "key sk-first"


def reload(env: Mapping[str, str]) -> str:
    """Leave a mark for each time."""
    with (FOLDER / "notes").open("a") as notes:
        notes.write("reloaded\n" if Path(env["IMAGEQUEUE_CATALOG"]).exists() else "no catalog\n")
    return "catalog reloaded"


def all_beat(_env: Mapping[str, str], pids: Collection[int]) -> bool:
    """Whether each has left its mark."""
    return all((FOLDER / f"beat-{pid}").exists() for pid in pids)


def main() -> None:
    """Run until stopped."""
    options = Options(data_dir=Path(sys.argv[1]), port=0, stop_timeout=float(sys.argv[2]))
    hooks = Hooks(
        simulator_catalog=CATALOG.format,
        check=check,
        schema_is_newest=schema_is_newest,
        first_key=first_key,
        reload=reload,
        all_beat=all_beat,
    )
    program = (sys.executable, str(Path(__file__).with_name("dummy_program.py")))
    try:
        up(options, hooks, Console(_say, _report), program=program)
    except StackError as error:
        sys.exit(str(error))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _report(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


main()
