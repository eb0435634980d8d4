"""Row `claim`."""

from bench.table import Line


def run() -> list[Line]:
    """Nothing yet."""
    return []
