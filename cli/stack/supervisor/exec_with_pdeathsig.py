"""Become another program, which ends when its parent ends.

`exec_with_pdeathsig.py PARENT SIGNAL IDENTITY PROGRAM [ARG...]`

The supervisor starts each process through this file, because a supervisor that is killed with SIGKILL cannot
stop its processes itself. prctl(PR_SET_PDEATHSIG) makes the kernel send SIGNAL to this process when the
*thread* that started it ends (prctl(2)). The order of the steps matters:

1. The credentials change first, because the kernel forgets the death signal whenever they change.
2. The death signal is asked for.
3. The parent's pid is compared with PARENT: if the parent died before step 2, no signal would ever come.
4. The program replaces this one (execv), so the pid that the supervisor knows is the program's own. An exec
   keeps the death signal unless the program is set-uid or has file capabilities.

IDENTITY says as whom the program runs:

`same`       nothing changes.
`inside:N`   a new user namespace in which this user has the id N. A program that refuses to run as root
             (Postgres) runs there. Outside of the namespace the process still has root's user id, so it can
             use root's files. It loses root's capabilities at the exec (user_namespaces(7)).
`uid:N`      for root: user and group N, no other group, where namespaces are refused.

Run with `python -I -S`, standard library only: that starts in a few milliseconds and reads nothing from the
environment or from the current folder.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER = 0x10000000
_CANNOT_RUN = 126  # the exit code that shells use for a command that cannot be run
_FOUR_WORDS = 4

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, call: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _enter_namespace(name: int) -> None:
    user, group = os.geteuid(), os.getegid()
    _check(_libc.unshare(_CLONE_NEWUSER), "unshare(CLONE_NEWUSER)")
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{name} {user} 1")
    _write("/proc/self/gid_map", f"{name} {group} 1")


def _take_identity(identity: str) -> None:
    if identity == "same":
        return
    os.chdir("/")  # the current folder may be closed to the new identity
    kind, _, number = identity.partition(":")
    if kind == "inside":
        _enter_namespace(int(number))
    else:
        _become(int(number))


def _become(number: int) -> None:
    os.setgroups([])
    os.setgid(number)
    os.setuid(number)


def _die_with(parent: int, signal: int) -> None:
    if sys.platform != "linux":
        return
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        raise ProcessLookupError(f"the parent {parent} is gone")


def main(words: list[str]) -> None:
    """Take the identity, ask for the death signal, become the program.

    Raises:
        OSError: a step was refused.
    """
    parent, signal, identity = words[:3]
    _take_identity(identity)
    _die_with(int(parent), int(signal))
    os.execv(words[3], words[3:])  # noqa: S606 -- becoming the program is the purpose


if __name__ == "__main__":
    if len(sys.argv) <= _FOUR_WORDS:
        sys.exit("usage: exec_with_pdeathsig.py PARENT SIGNAL IDENTITY PROGRAM [ARGUMENT...]")
    try:
        main(sys.argv[1:])
    except OSError as refused:
        os.write(2, f"exec_with_pdeathsig: cannot start {sys.argv[4]}: {refused}\n".encode())
        os._exit(_CANNOT_RUN)
