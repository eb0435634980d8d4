"""An API process of its own, with its environment and its whole output."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

from imagequeue.settings import PREFIX
from tests.builders import MODEL, NO_REDIS, SECRET_KEY

UPSTREAM_KEY = "the upstream's own key"
CATALOG = f"""
[[models]]
id = "{MODEL}"
price_usd = "0.039"

[[deployments]]
name = "east"
model = "{MODEL}"
provider = "foundry"
upstream_model = "mai-image-2-5"
endpoint = "http://127.0.0.1:9"
key_env = "EAST_KEY"
rpm = 6
"""


class ApiProcess:
    """`imagequeue api`; `output` is what it wrote, once it has ended."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url
        self.output = ""

    def terminate(self) -> int:
        """Send SIGTERM and wait; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.end()

    def end(self) -> int:
        """Wait for the end; returns the exit code."""
        self.output, _ = self.process.communicate(timeout=120)
        return self.process.returncode


@contextlib.contextmanager
def api_process(database_url: str, folder: Path, **more: str) -> Generator[ApiProcess]:
    """Start a process on the test's database, without Redis; it is killed at the end if it still runs."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-m", "cli", "api", "--fd", str(listener.fileno())]
        process = subprocess.Popen(
            command,
            env=_environment(database_url, folder) | more,
            pass_fds=[listener.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with process:
            try:
                yield ApiProcess(process, url)
            finally:
                process.kill()


def _environment(database_url: str, folder: Path) -> dict[str, str]:
    catalog = folder / "catalog.toml"
    catalog.write_text(CATALOG, "utf-8")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return inherited | {
        "IMAGEQUEUE_DATABASE_URL": database_url.replace("postgresql+psycopg", "postgresql"),
        "IMAGEQUEUE_REDIS_URL": NO_REDIS,
        "IMAGEQUEUE_SECRET_KEY": SECRET_KEY,
        "IMAGEQUEUE_CATALOG": str(catalog),
        "IMAGEQUEUE_STORAGE_URL": f"file://{folder}/media",
        "IMAGEQUEUE_LOG_LEVEL": "DEBUG",
        "EAST_KEY": UPSTREAM_KEY,
    }
