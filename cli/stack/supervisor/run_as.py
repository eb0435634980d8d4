"""As whom a child runs, and the command that starts it so that it ends with this process."""

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
_PROBE_SECONDS = 20.0  # the test command takes milliseconds, unless the machine is very busy


def of_uid(uid: int) -> str:
    """The identity of a plain user id."""
    return f"uid:{uid}"


def inside() -> str:
    """The identity of this user in a user namespace of its own, under the name of `account`."""
    return f"inside:{account()}"


def account() -> int:
    """The id of a user that has a name and no privileges: the user `nobody`, else the first but root.

    initdb looks up the name of the user that runs it, and fails for an id without a name.

    Raises:
        StackError: there is no such user.
    """
    known = sorted((entry.pw_name != "nobody", entry.pw_uid) for entry in pwd.getpwall() if entry.pw_uid != 0)
    if not known:
        raise StackError("The system has no user but root, and Postgres does not run as root.")
    return known[0][1]


def has_name() -> bool:
    """Whether the user id of this process has a name in the system; in a container it often has none."""
    return any(entry.pw_uid == os.geteuid() for entry in pwd.getpwall())


def with_pdeathsig(
    command: Sequence[str],
    *,
    orphan_signal: signal.Signals = signal.SIGKILL,
    identity: str = SAME,
) -> list[str]:
    """`command`, started through `exec_with_pdeathsig.py`.

    It gets `orphan_signal` when this process dies. The kernel watches the thread that forks, so the command
    must be started from a thread that lives as long as the process, in practice the main thread. `command[0]`
    must be an absolute path.
    """
    launcher = [sys.executable, "-I", "-S", str(_LAUNCHER)]
    return [*launcher, str(os.getpid()), str(int(orphan_signal)), identity, *command]


def namespace_reaches(program: Path, directory: Path) -> bool:
    """Whether a process in a user namespace of its own can run `program` and write into `directory`.

    It cannot where the system refuses namespaces (many containers), and where a parent folder belongs to
    another user and is closed to others, such as that user's home under `sudo`: in the namespace root has no
    capability to enter it.
    """
    question = ["/bin/sh", "-c", 'test -x "$1" && test -w "$2"', "sh", str(program), str(directory)]
    answer = subprocess.run(  # noqa: S603 -- a fixed program and paths of this installation
        with_pdeathsig(question, identity=inside()),
        capture_output=True,
        check=False,
        timeout=_PROBE_SECONDS,
    )
    return answer.returncode == 0
