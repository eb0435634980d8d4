"""Everything about a stack that is decided before its first process starts."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cli.stack import environment
from cli.stack.data_directory import DataDirectory
from cli.stack.hooks import Hooks
from cli.stack.listener import listen, url_of
from cli.stack.options import Options
from cli.stack.servers import port
from cli.stack.servers.postgres import EmbeddedPostgres
from cli.stack.servers.redis import EmbeddedRedis
from cli.stack.servers.server import EmbeddedServer
from cli.stack.supervisor import private_file
from imagequeue.signing import new_secret_key

_SIMULATOR_KEY = "simulator-key"  # the simulator's default; it is valid nowhere else


@dataclass(frozen=True)
class Plan:
    """What to start, and with which environment.

    Attributes:
        servers: the embedded servers, in the order of their start.
        listener: the socket of the API.
        api_url: how it is reached from this machine.
        simulator_port: None when the catalog is the user's own.
        env: the variables of every process.
    """

    servers: tuple[EmbeddedServer, ...]
    listener: socket.socket
    api_url: str
    simulator_port: int | None
    env: Mapping[str, str]


def make(options: Options, data: DataDirectory, hooks: Hooks) -> Plan:
    """Bind the API's socket, make what is missing in the data directory, and choose the ports.

    Raises:
        StackError: something is missing or taken; the message says what to do.
    """
    listener = listen(options.host, options.port)
    api_url = url_of(options.host, listener)
    simulator = None if _own_catalog(options) else port.stored_or_free(data.simulator_port)
    catalog, text = _catalog(options, data, hooks, simulator)
    env = {
        "IMAGEQUEUE_SECRET_KEY": private_file.read_or_make(data.secret_key, new_secret_key),
        "IMAGEQUEUE_STORAGE_URL": data.media.as_uri(),
        "IMAGEQUEUE_SPILL_DIR": str(data.spill),
        "IMAGEQUEUE_PUBLIC_URL": api_url,
        **environment.inherited(os.environ, text),
        "IMAGEQUEUE_CATALOG": str(catalog),
        "IMAGEQUEUE_URL": api_url,
        **(_simulated(simulator, text) if simulator is not None else {}),
    }
    servers = _servers(data, env)
    urls = {f"IMAGEQUEUE_{variable}": server.url for variable, server in servers.items()}
    return Plan(tuple(servers.values()), listener, api_url, simulator, {**env, **urls})


def _own_catalog(options: Options) -> Path | None:
    named = options.catalog or os.environ.get("IMAGEQUEUE_CATALOG")
    return Path(named).absolute() if named else None


def _catalog(options: Options, data: DataDirectory, hooks: Hooks, simulator: int | None) -> tuple[Path, str]:
    own = _own_catalog(options)
    if own is not None:
        return own, environment.read_catalog(own)
    text = hooks.simulator_catalog(f"http://127.0.0.1:{simulator}", options.simulator_rpm)
    private_file.replace(data.catalog, text)
    return data.catalog, text


def _simulated(port: int, catalog: str) -> dict[str, str]:
    allowed = os.environ.get("IMAGEQUEUE_EGRESS_ALLOW", "")
    return {
        "IMAGEQUEUE_EGRESS_ALLOW": environment.with_allowed(allowed, f"127.0.0.1:{port}"),
        **dict.fromkeys(environment.key_variables(catalog), _SIMULATOR_KEY),
    }


def _servers(data: DataDirectory, env: Mapping[str, str]) -> dict[str, EmbeddedServer]:
    """The servers of which the user has named none by a URL."""
    embedded: dict[str, EmbeddedServer] = {
        "DATABASE_URL": EmbeddedPostgres(data.postgres),
        "REDIS_URL": EmbeddedRedis(data.redis),
    }
    needed = {name: server for name, server in embedded.items() if not env.get(f"IMAGEQUEUE_{name}")}
    for server in needed.values():
        server.initialise()
    return needed
