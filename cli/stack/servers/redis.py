"""An embedded Redis on loopback, with its append-only file in its folder.

The program is Valkey, which serves Redis's clients, or a Redis of the system.

The password stands in a configuration file of mode 0600, never on the command line.

A kill leaves half a command at the end of the append-only file, which Redis skips. A power cut may leave
zeros there instead, and with those Redis refuses to start. So before each start the file is cut after its
last whole command. That loses no job: Postgres is the queue of record, and the dispatcher sends lost
doorbells again.
"""

import signal
import subprocess
from pathlib import Path

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from cli.stack.servers import binaries
from cli.stack.servers.server import EmbeddedServer
from cli.stack.supervisor import inherited_lock, private_file
from cli.stack.supervisor.process import Process

_CHECK_SECONDS = 60.0  # the check reads the whole file, which may have gigabytes
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
# A client that sends commands and reads no answers makes the server keep the answers; an old Redis keeps them
# for a client without the password too. The longest answer of ours is the forecast of all waiting jobs, at
# most about 26 KB for each flow. It is read at once.
client-output-buffer-limit normal 32mb 4mb 10
"""


class EmbeddedRedis(EmbeddedServer):
    """Redis with its data in `directory`."""

    @property
    def url(self) -> str:
        """The URL of database 0; available after `initialise`."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def initialise(self) -> None:
        """Write the configuration file."""
        binaries.redis_server()
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with inherited_lock.holding(self.lock):
            private_file.replace(self._configuration, self._settings())

    def process(self) -> Process:
        """The server as a child of this process; after `initialise`."""
        return Process(
            name="redis",
            argv=[str(binaries.redis_server()), str(self._configuration)],
            lock=self.lock,
            clear=self._cut_append_only_file,
            stop_signal=signal.SIGTERM,
        )

    def answers(self) -> bool:
        """Whether it has loaded its file and answers a PING."""
        at_once = Retry(NoBackoff(), 0)  # the default repeats for seconds
        try:
            with Redis(port=self.port, password=self.password, retry=at_once, socket_timeout=2) as client:
                return bool(client.ping())  # pyright: ignore[reportUnknownMemberType] -- redis's annotations
        except RedisError:  # BusyLoadingError too: the file is still being read
            return False

    @property
    def _configuration(self) -> Path:
        return self.directory / "redis.conf"

    def _cut_append_only_file(self) -> None:
        """Cut it after its last whole command; the server's program does that when it has another name.

        It checks the files one by one: given their manifest, Valkey 9.1 takes its own snapshot, the first
        file, for a broken list of commands and stops there. Redis 6 has a single file, which a newer server
        takes up.
        """
        for file in (self.directory / "appendonly.aof", *self.directory.glob("appendonlydir/*.incr.aof")):
            if file.exists() and file.stat().st_size:
                subprocess.run(  # noqa: S603 -- what cannot be mended the server reports itself
                    ["redis-check-aof", "--fix", str(file)],  # noqa: S607 -- a name, not a path
                    executable=binaries.redis_server(),
                    input=b"y\n",
                    capture_output=True,
                    check=False,
                    timeout=_CHECK_SECONDS,
                )

    def _settings(self) -> str:
        return f"{_SETTINGS}dir {_quoted(self.directory)}\nport {self.port}\nrequirepass {self.password}\n"


def _quoted(path: Path) -> str:
    """`path` as a quoted string of redis.conf, whose escapes are those of C."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
