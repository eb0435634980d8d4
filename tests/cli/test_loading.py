"""What is imported for a command is not collected, and what the command makes is."""

import gc
import subprocess
import sys

import pytest

from cli.loading import loading


def ran(program: str) -> str:
    """What a program prints, in an interpreter of its own, because this one has imported everything."""
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def test_no_garbage_is_looked_for_while_a_program_is_imported_and_then_it_is() -> None:
    with loading():
        assert not gc.isenabled()
        held: list[list[int]] = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= len(held)
    gc.unfreeze()


def test_garbage_is_looked_for_again_when_an_import_fails() -> None:
    with pytest.raises(ModuleNotFoundError), loading():
        raise ModuleNotFoundError
    assert gc.isenabled()
    gc.unfreeze()


def test_a_process_is_loaded_without_what_only_a_terminal_needs() -> None:
    program = """
import sys
from cli.loading import loading_process
with loading_process():
    import imagequeue.logs, httpx
print(*sorted({"structlog", "httpx", "rich", "pygments"} & sys.modules.keys()))
import rich.console
"""
    assert ran(program) == "httpx structlog"


@pytest.mark.parametrize(("queues", "calls"), [("deliveries", False), ("generate.backfill", True)])
def test_only_a_worker_that_makes_calls_imports_celery(queues: str, calls: bool) -> None:  # noqa: FBT001  # a parameter
    program = f"""
import sys
from cli.worker import worker
try:
    worker({queues!r})
except BaseException:
    print("celery" in sys.modules)
"""
    assert ran(program) == str(calls)


@pytest.mark.parametrize("command", ["submit", "watch", "listen", "backfill.command"])
def test_a_command_that_speaks_http_alone_imports_nothing_of_the_database(command: str) -> None:
    assert ran(f"import sys, cli.{command}; print('sqlalchemy' in sys.modules)") == "False"
