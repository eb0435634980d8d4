"""The backups of docs/deployment.md, by the very commands: what was restored goes on where it was."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from cli.stack.servers.binaries import postgres_installation
from imagequeue.store.database import open_engine
from imagequeue.store.migration import migrate
from tests import builders
from tests.e2e.live import ROOT, LiveStack
from tests.house import checkout

pytestmark = pytest.mark.long

COMMAND_SECONDS = 300


def _run(first_line: str, **variables: str) -> None:
    """Run the block of the page that begins with a comment, in a shell that stops at the first failure."""
    blocks = re.findall(
        rf"^```sh\n(# {first_line}.*?)^```$", checkout.text("docs/deployment.md"), re.MULTILINE | re.DOTALL
    )
    (script,) = blocks
    programs = (Path(sys.executable).parent, postgres_installation() / "bin")
    path = os.pathsep.join((*map(str, programs), os.environ["PATH"]))
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)} | variables
    command = ["/bin/sh", "-euc", script]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=COMMAND_SECONDS
    )
    assert not done.returncode, done.stderr


def test_a_machine_that_burnt_down_goes_on_from_its_backup(tmp_path: Path) -> None:
    first, backup, second = (tmp_path / name for name in ("first", "backup", "second"))
    with LiveStack(first) as stack:
        (done,) = stack.submit(1)
        assert stack.statuses([done]) == ["COMPLETED"]
        status = stack.client.get(f"/v2/requests/status/{done}").json()
        image = stack.client.get(status["output"]["media_url"][0]).content
        os.kill(stack.pids()["dispatcher"], signal.SIGSTOP)  # so that the next job waits
        (waits,) = stack.submit(1)
        _run("back up DATA", DATA=str(first), BACKUP=str(backup))
        os.kill(stack.pids()["dispatcher"], signal.SIGCONT)
    _run("restore BACKUP", DATA=str(second), BACKUP=str(backup))
    restored = LiveStack(second)
    restored.key, restored.port = stack.key, stack.port
    with restored:
        assert restored.client.get(status["output"]["media_url"][0]).content == image
        assert restored.client.get(f"/v2/requests/status/{done}").json() == status
        assert restored.statuses([waits]) == ["COMPLETED"]
        assert restored.wallet()["spent"] == "0.078"


@pytest.fixture
def empty_database(postgres_url: URL) -> URL:
    """The URL of a database without a table; the server ends with the session."""
    server = create_engine(postgres_url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    name = f"restored_{os.getpid()}"
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    return postgres_url.set(drivername="postgresql", database=name)


def test_a_dump_has_every_row_and_is_of_the_newest_schema(
    database_url: str, empty_database: URL, tmp_path: Path
) -> None:
    engine = open_engine(database_url, pool_size=1, name="tests")
    builders.account(engine, "acme", funds="25")
    dumped = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    into = empty_database.render_as_string(hide_password=False)
    _run("back up the database", IMAGEQUEUE_DATABASE_URL=dumped, BACKUP=str(tmp_path))
    _run("restore it into an empty database", IMAGEQUEUE_DATABASE_URL=into, BACKUP=str(tmp_path))
    restored = open_engine(into, pool_size=1, name="tests")
    migrate(restored)
    counted = ("accounts", "api_keys", "ledger_entries", "alembic_version")
    assert [builders.count(restored, table) for table in counted] == [1, 1, 1, 1]
    engine.dispose()
    restored.dispose()
