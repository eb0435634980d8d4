"""PgBouncer in front of a Postgres. No wheel has it, so its tests are skipped where it is not installed.

`PGBOUNCER` names its program; then it is demanded, as `.ci/run` does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest
from sqlalchemy import URL

from cli.stack.servers import port as ports
from cli.stack.supervisor import run_as
from tests.eventually import eventually

STOP_SECONDS = 60
# "any" lets every client in, under the name that stands behind the database.
_CONFIGURATION = """
[databases]
* = host={host} port={postgres} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 10
max_client_conn = 500
"""


def program() -> str:
    """Where it is; the test is skipped, with the reason, where it is not."""
    found = os.environ.get("PGBOUNCER") or shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.skip("PgBouncer is not installed (apt-get install pgbouncer)")
    return found


@contextmanager
def pgbouncer(server: URL, *more: str) -> Generator[URL]:
    """Run it in transaction mode while the context is open; its URL. `more` is added to its configuration."""
    command, port = program(), ports.free()
    root = os.geteuid() == 0  # it does not run as root, and nobody else may enter the folders of tests
    with TemporaryDirectory(prefix="imagequeue-pgbouncer-") as folder:
        configuration = Path(folder) / "pgbouncer.ini"
        known = {"host": server.host, "postgres": server.port, "user": server.username, "port": port}
        configuration.write_text(
            "\n".join([_CONFIGURATION.format(**known, password=server.password), *more]), "utf-8"
        )
        Path(folder).chmod(0o755)
        identity = run_as.of_uid(run_as.account()) if root else run_as.SAME
        with (configuration.with_name("log")).open("wb") as log:
            started = run_as.with_pdeathsig([command, str(configuration)], identity=identity)
            process = subprocess.Popen(started, stdout=log, stderr=log)
        url = server.set(port=port)
        try:
            eventually(lambda: process.poll() is None and _answers(url))
            yield url
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)


def _answers(url: URL) -> bool:
    try:
        psycopg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False)).close()
    except psycopg.OperationalError:
        return False
    return True
