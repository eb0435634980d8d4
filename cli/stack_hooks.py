"""The functions of the program that `up` calls for its stack (`cli.stack.hooks` says when)."""

import os
import socket
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import Engine, distinct, func, select
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from cli.keys import create_first_key
from cli.stack.hooks import Hooks
from cli.stack.options import SIMULATOR_RPM
from imagequeue.domain.catalog_file import load_catalog
from imagequeue.domain.errors import ConfigurationError
from imagequeue.lifecycle.operate.reload_catalog import ask_every_process
from imagequeue.providers.registry import PROVIDERS
from imagequeue.redis_server.address import RedisAddress, read_redis_url
from imagequeue.redis_server.refusal import refuse_misconfigured
from imagequeue.runtime import open_database
from imagequeue.settings import Settings
from imagequeue.signing import Keyring
from imagequeue.store.revision import is_newest
from imagequeue.store.tables import processes

FIRST_ACCOUNT = "first"
FIRST_FUNDS_USD = Decimal(100)
_CATALOG = Path(__file__).with_name("simulator.toml")
_FRESH = func.make_interval(0, 0, 0, 0, 0, 0, 15)  # seconds: a process sends a heartbeat every 2 s


def hooks() -> Hooks:
    """All of them."""
    return Hooks(
        simulator_catalog=simulator_catalog,
        check=check,
        schema_is_newest=schema_is_newest,
        first_key=first_key,
        reload=reload,
        all_beat=all_beat,
    )


def simulator_catalog(url: str, rpm: int = SIMULATOR_RPM) -> str:
    """The built-in catalog, for a simulator at `url`, with so many calls a minute for each deployment."""
    text = _CATALOG.read_text(encoding="utf-8")
    return text.replace("{simulator}", url).replace("{rpm}", str(rpm))


def check(env: Mapping[str, str]) -> None:
    """Check the catalog, the secret key and Redis before a process is started with them.

    Raises:
        ConfigurationError: names what is wrong.
    """
    _load_catalog(env)
    Keyring(env["IMAGEQUEUE_SECRET_KEY"])
    refuse_misconfigured(_redis(env))


def schema_is_newest(env: Mapping[str, str]) -> bool:
    """Whether no migration is to run. While the database is away: False, and `migrate` says why."""
    try:
        with _engine(env) as engine:
            return is_newest(engine)
    except SQLAlchemyError:
        return False


def first_key(env: Mapping[str, str]) -> str | None:
    """Make the account `first` with 100 USD and an operator's key, unless there is a key already."""
    with _engine(env) as engine:
        issued = create_first_key(
            engine, Keyring(env["IMAGEQUEUE_SECRET_KEY"]), FIRST_ACCOUNT, FIRST_FUNDS_USD
        )
    if issued is None:
        return None
    return f"key             {issued.key}\nwebhook secret  {issued.webhook_secret}\nBoth are shown only here."


def reload(env: Mapping[str, str]) -> str:
    """Check the catalog and ask every process to reload it; the line that tells the user about it."""
    try:
        _load_catalog(env)
        with _engine(env) as engine:
            ask_every_process(engine)
    except ConfigurationError as error:
        return f"the catalog stays as it was: {error.message}"
    except SQLAlchemyError as error:
        return (
            f"the catalog stays as it was, the database does not answer ({type(error).__name__}); ask again"
        )
    return "catalog checked; every process takes it up within seconds"


def all_beat(env: Mapping[str, str], pids: Collection[int]) -> bool:
    """Whether each of these processes of this machine has written a heartbeat, in the last 15 s.

    The age excludes an earlier process that had the same pid. While the database is away: False.
    """
    seen = select(func.count(distinct(processes.c.pid))).where(
        processes.c.host == socket.gethostname(),
        processes.c.pid.in_(pids),
        processes.c.beat > 0,
        processes.c.beat_at > func.clock_timestamp() - _FRESH,
    )
    try:
        with _engine(env) as engine, engine.connect() as connection:
            return connection.execute(seen).scalar_one() == len(pids)
    except OperationalError:
        return False


def _load_catalog(env: Mapping[str, str]) -> None:
    load_catalog(Path(env["IMAGEQUEUE_CATALOG"]), {**os.environ, **env}, PROVIDERS)


def _redis(env: Mapping[str, str]) -> RedisAddress:
    """The Redis of a stack; an embedded one does not run yet when it is asked for first."""
    ca_file = env.get("IMAGEQUEUE_REDIS_CA_FILE")
    return read_redis_url(env["IMAGEQUEUE_REDIS_URL"], Path(ca_file) if ca_file else None)


@contextmanager
def _engine(env: Mapping[str, str]) -> Generator[Engine]:
    settings = Settings(database_url=SecretStr(env["IMAGEQUEUE_DATABASE_URL"]))
    engine = open_database(settings, pool_size=1, name="up")
    try:
        yield engine
    finally:
        engine.dispose()
