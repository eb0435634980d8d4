"""Run a program where user namespaces are refused: `refusing.py PROGRAM ARGUMENT...`, as root.

The number of namespaces is limited for each user namespace, so the program gets one in which the limit is 0.
All ids of the machine are mapped, so root is root in it.
"""

import ctypes
import os
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000


def enter(inside: int, mapped: int) -> None:
    """Make the namespace, wait until its ids are mapped, refuse further ones, become the program."""
    if ctypes.CDLL(None).unshare(CLONE_NEWUSER) != 0:
        sys.exit("unshare failed")
    os.write(inside, b"x")
    os.read(mapped, 1)
    Path("/proc/sys/user/max_user_namespaces").write_text("0")
    os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606


def main() -> None:
    """Map the ids from outside, wait for the end, end with the same code."""
    inside, mapped = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        enter(inside[1], mapped[0])
    os.read(inside[0], 1)
    for kind in ("uid_map", "gid_map"):
        Path(f"/proc/{child}/{kind}").write_text("0 0 65536")
    os.write(mapped[1], b"x")
    _pid, status = os.waitpid(child, 0)
    sys.exit(os.waitstatus_to_exitcode(status))


main()
