"""What `up` asks and tells the database of its stack. It is imported when it is called for the first time."""

import socket
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from decimal import Decimal

from pydantic import SecretStr
from sqlalchemy import Engine, distinct, func, select
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from cli.keys import create_first_key
from imagequeue.lifecycle.operate.reload_catalog import ask_every_process
from imagequeue.runtime import open_database
from imagequeue.settings import Settings
from imagequeue.signing import Keyring
from imagequeue.store.revision import is_newest
from imagequeue.store.tables import processes

FIRST_ACCOUNT = "first"
FIRST_FUNDS_USD = Decimal(100)
_FRESH = func.make_interval(0, 0, 0, 0, 0, 0, 15)  # seconds: a process sends a heartbeat every 2 s


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


def ask_for_reload(env: Mapping[str, str]) -> str:
    """Ask every process to reload the catalog; the line that tells the user about it."""
    try:
        with _engine(env) as engine:
            ask_every_process(engine)
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


@contextmanager
def _engine(env: Mapping[str, str]) -> Generator[Engine]:
    settings = Settings(database_url=SecretStr(env["IMAGEQUEUE_DATABASE_URL"]))
    engine = open_database(settings, pool_size=1, name="up")
    try:
        yield engine
    finally:
        engine.dispose()
