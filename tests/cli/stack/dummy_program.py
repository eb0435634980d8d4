"""Stands in for `python -m cli`: the same commands, which only leave marks in DUMMY_FOLDER."""

import os
import signal
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import FrameType

from imagequeue.signals import give_up

FOLDER = Path(os.environ["DUMMY_FOLDER"])


class Ready(BaseHTTPRequestHandler):
    """Answers everything with its pid."""

    def do_GET(self) -> None:
        """Answer."""
        body = str(os.getpid()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def note(what: str) -> None:
    """Leave a mark that the tests look for, also while others do."""
    with (FOLDER / "notes").open("a") as file:
        file.write(f"{what}\n")


def api(descriptor: int) -> None:
    """Serve on the inherited socket."""
    server = HTTPServer(("", 0), Ready, bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(fileno=descriptor)
    server.serve_forever()


def wait(name: str) -> None:
    """Beat once, then live until SIGTERM; with `stubborn` in the folder ignore that too.

    SIGUSR1 makes it find that it no longer works.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        note(f"stopped {name}")
        if not (FOLDER / "stubborn").exists():
            raise SystemExit(0)

    def stall(_number: int, _frame: FrameType | None) -> None:
        give_up("for the test")

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGUSR1, stall)
    (FOLDER / f"beat-{os.getpid()}").touch()
    while True:
        signal.pause()


def main() -> None:
    """Run the command."""
    command = sys.argv[1]
    if (FOLDER / f"broken-{command}").exists():
        sys.exit(f"{command} is broken")
    if "--after-fd" in sys.argv:
        note(f"imported {command}")
        os.read(int(sys.argv[sys.argv.index("--after-fd") + 1]), 1)
    note(f"started {' '.join(sys.argv[1:])}")
    match command:
        case "migrate":
            while (FOLDER / "hold-migrate").exists():
                time.sleep(0.01)
        case "api":
            api(int(sys.argv[3]))
        case _:
            wait(command)


main()
