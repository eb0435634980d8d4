"""The functions of the program that `up` calls for its stack (`cli.stack.hooks` says when).

Those that ask the database import what they need when they are called: by then the processes of the stack
have been started, and import beside them.
"""

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from cli.stack.hooks import Hooks
from cli.stack.options import SIMULATOR_RPM
from imagequeue.domain.catalog_file import load_catalog
from imagequeue.domain.errors import ConfigurationError
from imagequeue.providers.registry import PROVIDERS
from imagequeue.redis_server.address import RedisAddress, read_redis_url
from imagequeue.redis_server.refusal import refuse_misconfigured
from imagequeue.signing import Keyring

_CATALOG = Path(__file__).with_name("simulator.toml")


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
    from cli import stack_database  # noqa: PLC0415  # as the head of this file says

    return stack_database.schema_is_newest(env)


def first_key(env: Mapping[str, str]) -> str | None:
    """Make the first account and an operator's key, unless there is a key already."""
    from cli import stack_database  # noqa: PLC0415  # as above

    return stack_database.first_key(env)


def reload(env: Mapping[str, str]) -> str:
    """Check the catalog and ask every process to reload it; the line that tells the user about it."""
    from cli import stack_database  # noqa: PLC0415  # as above

    try:
        _load_catalog(env)
    except ConfigurationError as error:
        return f"the catalog stays as it was: {error.message}"
    return stack_database.ask_for_reload(env)


def all_beat(env: Mapping[str, str], pids: Collection[int]) -> bool:
    """Whether each of these processes of this machine has written a heartbeat, in the last 15 s."""
    from cli import stack_database  # noqa: PLC0415  # as above

    return stack_database.all_beat(env, pids)


def _load_catalog(env: Mapping[str, str]) -> None:
    load_catalog(Path(env["IMAGEQUEUE_CATALOG"]), {**os.environ, **env}, PROVIDERS)


def _redis(env: Mapping[str, str]) -> RedisAddress:
    """The Redis of a stack; an embedded one does not run yet when it is asked for first."""
    ca_file = env.get("IMAGEQUEUE_REDIS_CA_FILE")
    return read_redis_url(env["IMAGEQUEUE_REDIS_URL"], Path(ca_file) if ca_file else None)
