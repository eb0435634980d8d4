"""`python -m bench [--rows a,b] [--runs n]` prints a table of rows. Exit status 1: a target was missed."""

from __future__ import annotations

import argparse
import sys

from bench.rows import DEFAULT, ROWS
from bench.table import Line, show


def main() -> int:
    """Run the rows that the command line names; the exit status."""
    parser = argparse.ArgumentParser(prog="bench", description="Rows: " + "; ".join(_described()))
    parser.add_argument("--rows", default=",".join(DEFAULT), help="comma-separated; default: %(default)s")
    parser.add_argument("--runs", type=int, default=1, help="how often each row is run")
    options = parser.parse_args()
    names = [name.strip() for name in options.rows.split(",") if name.strip()]
    unknown = sorted(set(names) - ROWS.keys())
    if unknown:
        parser.error(f"no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    lines = [line for name in names for _ in range(options.runs) for line in _run(name)]
    show(lines)
    return 1 if any(line.holds is False for line in lines) else 0


def _run(name: str) -> list[Line]:
    print(f"{name}: {ROWS[name].about} ...", file=sys.stderr, flush=True)
    return ROWS[name].run()


def _described() -> list[str]:
    return [f"{name} ({row.about})" for name, row in ROWS.items()]


if __name__ == "__main__":
    sys.exit(main())
