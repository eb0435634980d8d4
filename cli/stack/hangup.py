"""What SIGHUP means to `up`: its terminal is gone, or the catalog has changed.

The kernel and shells send it when a terminal hangs up, so a stack that was started at one stops. Without a
controlling terminal (systemd, a container, cron, `setsid`) only somebody who means it sends SIGHUP, and there
it has the meaning that every single process gives to it.
"""

import os
from contextlib import suppress


def has_terminal() -> bool:
    """Whether this process has a controlling terminal. Ask at the start: one that hung up is gone."""
    with suppress(OSError):  # ENXIO: there is none
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
        return True
    return False
