"""The start gate: processes that are started before the servers answer import meanwhile, and wait there.

It is a pipe to which nobody writes: a process that reads it waits until the supervisor closes the other end.
One that is started again later finds it open.
"""

import os


class StartGate:
    """Closed until `open`; both ends are freed by `close`.

    Attributes:
        descriptor: the end to which a process listens, which it inherits.
    """

    def __init__(self) -> None:
        self.descriptor, self._end = os.pipe()
        self._is_open = False

    def open(self) -> None:
        """Let those go on that wait, and all that come."""
        if not self._is_open:
            os.close(self._end)
            self._is_open = True

    def close(self) -> None:
        """Free the descriptors. What still waits goes on, so nothing may wait by then."""
        self.open()
        os.close(self.descriptor)
