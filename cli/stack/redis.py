"""An embedded Redis on loopback, with its append-only file in its folder.

The password stands in a configuration file of mode 0600, never on the command line.
"""

import signal
from pathlib import Path

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from cli.stack import binaries, occupancy, private_file
from cli.stack.process import Process
from cli.stack.server import EmbeddedServer

_SETTINGS = """\
bind 127.0.0.1
protected-mode yes
daemonize no
databases 16
appendonly yes
appendfsync everysec
# A kill in the middle of a write leaves half a command at the end: load what is before it.
aof-load-truncated yes
save ""
maxmemory-policy noeviction
"""


class EmbeddedRedis(EmbeddedServer):
    """Redis with its data in `directory`."""

    @property
    def url(self) -> str:
        """The URL of database 0; after `initialise`."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def initialise(self) -> None:
        """Write the configuration file; see the base class."""
        binaries.redis_server()
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with occupancy.occupied(self.lock):
            private_file.replace(self._configuration, self._settings())

    def process(self) -> Process:
        """The server as a child of this process; after `initialise`."""
        return Process(
            name="redis",
            argv=[str(binaries.redis_server()), str(self._configuration)],
            lock=self.lock,
            stop_signal=signal.SIGTERM,
        )

    def answers(self) -> bool:
        """Whether it has loaded its file and answers a PING."""
        at_once = Retry(NoBackoff(), 0)  # the default tries for seconds
        try:
            with Redis(port=self.port, password=self.password, retry=at_once, socket_timeout=2) as client:
                return bool(client.ping())  # pyright: ignore[reportUnknownMemberType] -- redis's annotations
        except RedisError:  # BusyLoadingError too: the file is still being read
            return False

    @property
    def _configuration(self) -> Path:
        return self.directory / "redis.conf"

    def _settings(self) -> str:
        return f"{_SETTINGS}dir {_quoted(self.directory)}\nport {self.port}\nrequirepass {self.password}\n"


def _quoted(path: Path) -> str:
    """`path` as a quoted string of redis.conf, whose escapes are those of C."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
