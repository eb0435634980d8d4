"""Every client verifies a Redis behind TLS, and a process that cannot says so in a line at its start."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from imagequeue.client_rate_limit import Allowance, ClientRateLimit
from imagequeue.domain.errors import ConfigurationError
from imagequeue.domain.ids import new_id
from imagequeue.domain.jobs import Lane
from imagequeue.redis_server.address import RedisAddress, read_redis_url
from imagequeue.redis_server.client import open_redis
from imagequeue.redis_server.refusal import refuse_misconfigured
from imagequeue.settings import PREFIX
from imagequeue.store.attempts.calls import Doorbell
from tests.builders import NO_REDIS, SECRET_KEY
from tests.egress.certificates import Authority
from tests.eventually import eventually
from tests.redis_server.servers import PASSWORD, TlsRedis, redis_on_a_socket
from tests.worker.running import PATIENCE, PROGRAM, QUEUE, running_worker
from worker.app import make_app
from worker.celery_publisher import CeleryPublisher

COMMANDS: dict[str, tuple[tuple[str, ...], int]] = {
    "api": (("api", "--port", "0"), 2),
    "dispatcher": (("dispatcher",), 2),
    "worker": (("worker",), 2),
    "up": (("up", "--port", "0"), 1),
}
"""The commands that connect to Redis, and their exit codes for a wrong setting."""


class Secured:
    """A Redis behind TLS with a certificate for `localhost`, and the files of two authorities."""

    def __init__(self, redis_url: str, folder: Path, *, demands_client: bool = False) -> None:
        trusted, another = Authority(), Authority()
        self.trusted, self.wrong = folder / "trusted.pem", folder / "wrong.pem"
        self.trusted.write_text(trusted.pem)
        self.wrong.write_text(another.pem)
        context = trusted.server(folder, "localhost")
        self.certificate = folder / "server.pem"
        if demands_client:
            context.load_verify_locations(cadata=trusted.pem)
            context.verify_mode = context.verify_mode.__class__.CERT_REQUIRED
        self.redis = TlsRedis(redis_url, context)

    def url(self, query: str = "", host: str = "localhost") -> str:
        return self.redis.url(f"?ssl_ca_certs={self.trusted}{query}", host)


@pytest.fixture
def secured(redis_url: str, tmp_path: Path) -> Iterator[Secured]:
    made = Secured(redis_url, tmp_path)
    with made.redis:
        yield made


def _ping(address: RedisAddress) -> Any:
    with open_redis(address) as redis:
        return redis.ping()  # pyright: ignore[reportUnknownMemberType]


def _ping_of_celery(address: RedisAddress) -> Any:
    with make_app(address).connection_for_write() as connection:
        channel: Any = connection.connect() and connection.channel()
        return channel.client.ping()


CLIENTS = pytest.mark.parametrize("ping", [_ping, _ping_of_celery])


@CLIENTS
def test_a_client_takes_the_server_that_its_authority_vouches_for(
    ping: Callable[[RedisAddress], Any], secured: Secured
) -> None:
    assert ping(read_redis_url(secured.url()))
    assert ping(read_redis_url(secured.redis.url(), secured.trusted))
    assert ping(read_redis_url(secured.url("&ssl_check_hostname=false", "127.0.0.1")))
    assert ping(read_redis_url(secured.redis.url("?ssl_cert_reqs=none")))


@CLIENTS
@pytest.mark.parametrize("wrong", ["the authority", "no authority", "the name"])
def test_a_client_sends_nothing_to_a_server_that_is_not_the_one(
    ping: Callable[[RedisAddress], Any], wrong: str, secured: Secured
) -> None:
    urls = {
        "the authority": secured.redis.url(f"?ssl_ca_certs={secured.wrong}"),
        "no authority": secured.redis.url(),
        "the name": secured.url(host="127.0.0.1"),
    }
    address = read_redis_url(urls[wrong])
    with pytest.raises((RedisError, OperationalError), match="certificate verify failed"):
        ping(address)
    assert secured.redis.seen == []
    with pytest.raises(ConfigurationError, match=r"^IMAGEQUEUE_REDIS_URL: .*certificate verify failed"):
        refuse_misconfigured(address)


@CLIENTS
def test_a_client_shows_its_certificate(
    ping: Callable[[RedisAddress], Any], redis_url: str, tmp_path: Path
) -> None:
    secured = Secured(redis_url, tmp_path, demands_client=True)
    with secured.redis:
        assert ping(read_redis_url(secured.url(f"&ssl_certfile={secured.certificate}")))
        with pytest.raises((RedisError, OperationalError)):
            ping(read_redis_url(secured.url()))


@CLIENTS
def test_a_client_reaches_a_socket(ping: Callable[[RedisAddress], Any], tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    with redis_on_a_socket(path):
        address = read_redis_url(f"unix://:{quote(PASSWORD, safe='')}@{path}?db=1")
        assert ping(address)
        with pytest.raises(ConfigurationError, match=r"^IMAGEQUEUE_REDIS_URL: Redis refuses the login"):
            refuse_misconfigured(read_redis_url(f"unix://:another@{path}"))


@pytest.mark.parametrize("name", ["ssl_ca_certs", "ssl_certfile"])
def test_a_file_of_certificates_that_is_none_is_named(name: str, secured: Secured, tmp_path: Path) -> None:
    file = tmp_path / "none.pem"
    address = read_redis_url(secured.redis.url(f"?{name}={file}"))
    with pytest.raises(ConfigurationError, match=rf"REDIS_URL.*{file}"):
        refuse_misconfigured(address)


def test_a_database_that_is_not_there_is_refused_and_a_server_that_is_away_is_not(redis_url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^IMAGEQUEUE_REDIS_URL: Redis has no such database"):
        refuse_misconfigured(read_redis_url(redis_url.removesuffix("/0") + "/99"))
    refuse_misconfigured(read_redis_url(NO_REDIS))
    refuse_misconfigured(read_redis_url(NO_REDIS.replace("redis://", "rediss://")))


def test_a_key_is_limited_and_a_worker_answers_through_tls(
    secured: Secured, database_url: str, tmp_path: Path
) -> None:
    address = read_redis_url(secured.url())
    limit = ClientRateLimit(open_redis(address))
    first, second = (limit.take([Allowance("a key", rpm=1)])[0] for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.wait_seconds == 0 < second.wait_seconds
    with open_redis(address) as redis:
        CeleryPublisher(make_app(address), redis).attempts([Doorbell(new_id(), Lane.INTERACTIVE)])
        assert redis.llen(QUEUE) == 1
        with running_worker(database_url, secured.url(), tmp_path):
            eventually(lambda: redis.llen(QUEUE) == 0)


@pytest.mark.long
def test_every_process_says_in_a_line_that_the_server_is_not_verified_and_ends(
    secured: Secured, database_url: str, tmp_path: Path
) -> None:
    catalog = tmp_path / "catalog.toml"
    catalog.write_text("models = []\ndeployments = []\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)} | {
        "IMAGEQUEUE_DATABASE_URL": database_url.replace("+psycopg", ""),
        "IMAGEQUEUE_REDIS_URL": secured.redis.url(),
        "IMAGEQUEUE_REDIS_CA_FILE": str(secured.wrong),
        "IMAGEQUEUE_SECRET_KEY": SECRET_KEY,
        "IMAGEQUEUE_CATALOG": str(catalog),
    }
    started = {
        name: subprocess.Popen(
            (*PROGRAM, *command, *(("--data-dir", str(tmp_path / "data")) if name == "up" else ())),
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, (command, _) in COMMANDS.items()
    }
    for name, process in started.items():
        lines = process.communicate(timeout=PATIENCE)[1].splitlines()
        assert process.returncode == COMMANDS[name][1], name
        assert lines[-1].startswith("imagequeue: IMAGEQUEUE_REDIS_URL: "), name
        assert "certificate verify failed" in lines[-1], name
        assert len(lines) == (2 if name == "up" else 1), "`up` says first where its data is"
    assert secured.redis.seen == []
