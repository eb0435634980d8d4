"""Who a child runs as, and the command that starts it tethered to this process."""

import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cli.stack.supervisor.errors import StackError

SAME = "same"

_LAUNCHER = Path(__file__).with_name("exec_with_pdeathsig.py")
_PROBE_SECONDS = 20.0


def of_uid(uid: int) -> str:
    """The identity of a plain user id."""
    return f"uid:{uid}"


def inside() -> str:
    """The identity of this user in a user namespace of its own, under the name of `account`."""
    return f"inside:{account()}"


def account() -> int:
    """The id of a user without privileges whom the system knows by name: `nobody`, else the first but root.

    initdb looks up the name of who runs it and fails for an id that has none.

    Raises:
        StackError: there is no such user.
    """
    known = sorted((entry.pw_name != "nobody", entry.pw_uid) for entry in pwd.getpwall() if entry.pw_uid != 0)
    if not known:
        raise StackError("The system has no user but root, and Postgres does not run as root.")
    return known[0][1]


def has_name() -> bool:
    """Whether the system knows this process's user by name; in a container it often does not."""
    return any(entry.pw_uid == os.geteuid() for entry in pwd.getpwall())


def with_pdeathsig(
    command: Sequence[str],
    *,
    orphan_signal: signal.Signals = signal.SIGKILL,
    identity: str = SAME,
) -> list[str]:
    """`command`, started through `exec_with_pdeathsig.py`.

    It gets `orphan_signal` when the calling thread's process dies.

    The kernel watches the thread that forks, so the command must be started from a thread that lives as long
    as the process, in practice the main thread. `command[0]` must be an absolute path.
    """
    launcher = [sys.executable, "-I", "-S", str(_LAUNCHER)]
    return [*launcher, str(os.getpid()), str(int(orphan_signal)), identity, *command]


def namespace_reaches(program: Path, directory: Path) -> bool:
    """Whether a process in a user namespace of its own can run `program` and write into `directory`.

    False where namespaces are refused (many containers), and where a folder above belongs to another user and
    is closed to others, as with `sudo` in somebody's home: inside the namespace root has no capability to
    pass it.
    """
    question = ["/bin/sh", "-c", 'test -x "$1" && test -w "$2"', "sh", str(program), str(directory)]
    answer = subprocess.run(  # noqa: S603 -- a fixed program and paths of this installation
        with_pdeathsig(question, identity=inside()),
        capture_output=True,
        check=False,
        timeout=_PROBE_SECONDS,
    )
    return answer.returncode == 0
