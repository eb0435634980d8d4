"""What SIGHUP means to `up`: that its terminal is gone, or that the catalog has changed.

The kernel and shells send SIGHUP when a terminal hangs up, so a stack that was started at a terminal stops.
Without a controlling terminal (systemd, a container, cron, `setsid`) only an operator sends it, and then it
means what it means to each process of the stack: reload the catalog.
"""

import os
from contextlib import suppress


def has_terminal() -> bool:
    """Whether this process has a controlling terminal. To be asked at the start, before it hangs up."""
    with suppress(OSError):  # ENXIO: it has none
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
        return True
    return False
