"""`python -m simulator`: the simulator as a program of its own."""

import argparse
from pathlib import Path

from simulator.config import load_config
from simulator.server import serve


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="simulator", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="0 takes a free port, which is printed")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--config", type=Path, help="upstreams as JSON; default: those of the demo")
    parser.add_argument("--log", type=Path, help="append the strict log to this file, as JSON lines")
    options = parser.parse_args()
    serve(options.host, options.port, load_config(options.config) if options.config else None, options.log)


if __name__ == "__main__":
    main()
