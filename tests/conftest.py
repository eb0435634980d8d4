"""Real servers for every test: one Postgres and one Redis a session, an empty database a test.

`IMAGEQUEUE_TEST_DATABASE_URL` (a superuser's) saves starting a Postgres while one develops. `TEST_POSTGRES`
names the folder of another Postgres than the wheel's (`tests/postgres.py`). Tests that need SeaweedFS are
skipped where its program is not installed, unless `IMAGEQUEUE_TEST_S3=require`.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from inspect import signature
from typing import TYPE_CHECKING, cast

import httpx
import pytest
import structlog
from redis import Redis
from sqlalchemy import URL, Engine, make_url
from sqlalchemy.pool import QueuePool
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from imagequeue.store.database import open_engine
from tests.databases import ReusedDatabase
from tests.eventually import eventually

if TYPE_CHECKING:
    from tests.seaweedfs import SeaweedFS

SHARE_A_STACK = {
    f"tests/e2e/test_{name}.py"
    for name in (
        "backfill",
        "documents",
        "examples",
        "foundry_examples",
        "openai_batches",
        "openai_errors",
        "openai_package",
        "openrouter_examples",
        "readme",
        "redis_emptied",
        "reload",
    )
}
"""Files that go to one process, because their stack takes ten seconds of a core to start."""

RETURN_SECONDS = 60
"""For a thread that still has a connection: the longest statement may take 30 s."""


class FileByFile(LoadScopeScheduling):
    """Hands out files, and those that share a stack together."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "a shared stack" if file in SHARE_A_STACK else file


ANSWER_SECONDS = 120
"""What a test waits for an HTTP answer, unless it says otherwise. httpx would wait 5 s, which a busy machine
may need."""


def pytest_configure() -> None:
    """Let httpx wait: the default of its functions is one object that all of them share."""
    default = cast("httpx.Timeout", signature(httpx.get).parameters["timeout"].default)
    default.connect = default.read = default.write = default.pool = ANSWER_SECONDS


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """How the suite is spread over processes (Makefile, `SPREAD`)."""
    return FileByFile(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What mostly waits begins first: what began last would keep the suite waiting for it alone.

    Otherwise the order stays as pytest-randomly has shuffled it.
    """
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_collection_finish() -> None:
    """Keep what was collected out of the garbage collector's rounds, half a million objects that stay."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def signals_are_heard() -> None:
    """Also by the programs that tests start: `nohup`, and `&` in a script, have them ignored."""
    for number, default in (
        (signal.SIGHUP, signal.SIG_DFL),
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGQUIT, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, default)


@pytest.fixture(scope="session", autouse=True)
def plain_logs() -> None:
    """The lines of logs as they are, but plain tracebacks: rich ones take a second of a core each."""
    *before, _ = structlog.get_config()["processors"]
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*before, plain])


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[URL]:
    """A Postgres of this session, without fsync: tests kill processes, not the machine."""
    own = os.environ.get("IMAGEQUEUE_TEST_DATABASE_URL")
    if own:
        yield make_url(own).set(drivername="postgresql+psycopg")
        return
    from tests.postgres import postgres  # noqa: PLC0415  # only where it is started

    with postgres(tmp_path_factory.mktemp("postgres") / "data", fsync="off").running() as server:
        yield make_url(server.url).set(drivername="postgresql+psycopg")


@pytest.fixture(scope="session")
def reused_database(postgres_url: URL) -> Iterator[ReusedDatabase]:
    """The database of this process's tests."""
    database = ReusedDatabase(postgres_url)
    yield database
    database.drop()


@pytest.fixture
def database_url(reused_database: ReusedDatabase) -> str:
    """A migrated, empty database that nobody else uses while the test runs."""
    return reused_database.empty()


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A pool of connections to `database_url`."""
    engine = open_engine(database_url, pool_size=8, name="tests")
    yield engine
    _await_returned(engine)
    engine.dispose()


def _await_returned(engine: Engine) -> None:
    """Wait until no thread of the test has a connection any more.

    One that is given back to a pool that was disposed of is never closed. Its warning would come whenever the
    garbage is collected, and fail whichever test runs then.
    """
    pool = cast("QueuePool", engine.pool)
    left = "this test leaves a thread behind that has a connection"
    eventually(lambda: not pool.checkedout(), RETURN_SECONDS, otherwise=lambda: left)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Redis of this session."""
    from cli.stack.servers.redis import EmbeddedRedis  # noqa: PLC0415  # only where it is started

    server = EmbeddedRedis(tmp_path_factory.mktemp("redis") / "data")
    with server.running():
        yield server.url


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """An S3 server of this session."""
    from tests.seaweedfs import SeaweedFS  # noqa: PLC0415  # only where it is started

    with SeaweedFS(tmp_path_factory.mktemp("seaweedfs")).running() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """The URL of a Redis that is empty when the test begins."""
    with Redis.from_url(redis_server) as redis:  # pyright: ignore[reportUnknownMemberType]
        redis.flushall()  # pyright: ignore[reportUnknownMemberType]
    return redis_server
