"""The processes of docker-compose.yml, in its order and with its environment, without containers."""

from __future__ import annotations

import io
import json
import os
import shlex
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from PIL import Image
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError
from redis.retry import Retry
from sqlalchemy import URL, create_engine, text
from sqlalchemy.pool import NullPool

from cli.demo.deadline import DemoDeadline
from cli.demo.receiver import Receiver
from cli.stack.servers import binaries
from cli.stack.servers.port import free
from tests import compose, seaweedfs
from tests.compose_host import Host, confined, namespaces
from tests.eventually import eventually
from tests.house import checkout

pytestmark = [pytest.mark.long, pytest.mark.server, pytest.mark.timeout(900)]

START_SECONDS = 300.0
"""Ten processes start at once, which takes two idle cores 15 s, and a busy machine far longer."""

patiently = partial(eventually, seconds=START_SECONDS)

MODEL = "microsoft-mai-image-2-5"
SECRETS = {
    "REDIS_PASSWORD": "the-password-of-redis",
    "S3_ADMIN_PASSWORD": "the-password-of-the-administrator",
    "S3_PASSWORD": "the-password-of-the-storage",
    "IMAGEQUEUE_SECRET_KEY": "a secret key of this test that is long enough",
}
LINE = {
    "custom_id": "one",
    "method": "POST",
    "url": "/v1/images/generations",
    "body": {"model": MODEL, "prompt": "a lighthouse"},
}


@dataclass(frozen=True)
class Ports:
    """Where the servers listen on loopback."""

    api: int
    simulator: int
    redis: int
    s3: int

    @property
    def url(self) -> str:
        """The API's."""
        return f"http://127.0.0.1:{self.api}"

    @property
    def bucket(self) -> str:
        """The bucket of the images, as strangers reach it."""
        return f"http://127.0.0.1:{self.s3}/imagequeue"


@pytest.fixture
def database(postgres_url: URL) -> Iterator[URL]:
    """A database without any table: the command `migrate` is part of the test."""
    server = create_engine(postgres_url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    name = f"processes_{os.getpid()}"
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield postgres_url.set(database=name)
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def ports() -> Ports:
    return Ports(api=free(), simulator=free(), redis=free(), s3=free())


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().open() as made:
        yield made


@pytest.fixture
def host(tmp_path: Path, database: URL, ports: Ports, receiver: Receiver) -> Iterator[Host]:
    """The services of compose as .env.example has them, its empty lines filled in."""
    assert (database.username, database.password is None) == ("imagequeue", False)
    example = compose.assignments(checkout.text(".env.example"))
    variables = example | SECRETS | {"POSTGRES_PASSWORD": str(database.password)}
    variables["IMAGEQUEUE_EGRESS_ALLOW"] += f",{receiver.address}"
    places = _places(tmp_path, database, ports)
    catalog = checkout.text(example["CATALOG_FILE"]).replace("simulator:9100", places["simulator:9100"])
    (tmp_path / "catalog.toml").write_text(catalog, "utf-8")
    made = Host(tmp_path, compose.services(variables), places, _options(ports))
    _install_programs(made.programs, ports, tmp_path / "data")
    yield made
    made.close()


def _places(folder: Path, database: URL, ports: Ports) -> dict[str, str]:
    s3 = f"127.0.0.1:{ports.s3}"
    return {
        "@postgres:5432/imagequeue": f"@{database.host}:{database.port}/{database.database}",
        "redis:6379": f"127.0.0.1:{ports.redis}",
        "seaweedfs:8333": s3,
        "localhost:8333": s3,
        "simulator:9100": f"127.0.0.1:{ports.simulator}",
        "localhost:8000": f"127.0.0.1:{ports.api}",
        "/etc/imagequeue/catalog.toml": str(folder / "catalog.toml"),
        "/var/lib/imagequeue": str(folder / "volume"),
        "/tmp/s3.json": str(folder / "s3.json"),  # noqa: S108  # of the container
    }


def _options(ports: Ports) -> dict[str, list[str]]:
    """Later options win over those of the file."""
    return {
        "api": ["--host", "127.0.0.1", "--port", str(ports.api)],
        "simulator": ["--host", "127.0.0.1", "--port", str(ports.simulator)],
    }


def _install_programs(folder: Path, ports: Ports, data: Path) -> None:
    """What the images of the servers have, from wheels, and on ports of this test."""
    data.mkdir()
    grpc = [f"-{name}.port.grpc={free()}" for name in ("master", "volume", "filer", "s3")]
    http = [f"-{name}.port={free()}" for name in ("master", "volume", "filer")]
    here = [f"-dir={data}", f"-s3.port={ports.s3}", "-s3.ip.bind=127.0.0.1", "-volume.preStopSeconds=0"]
    programs = {
        "docker-entrypoint.sh": 'exec "$@"',
        "redis-server": _call(str(binaries.redis_server()), "--port", str(ports.redis), "--dir", str(data)),
        "weed": _call(seaweedfs.program(), *http, *grpc, *here, "-master.volumeSizeLimitMB=64"),
    }
    folder.mkdir()
    for name, script in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n", "utf-8")
        (folder / name).chmod(stat.S_IRWXU)


def _call(program: str, *more: str) -> str:
    return f'exec {shlex.quote(program)} "$@" {shlex.join(more)}'


def _healthy(ports: Ports) -> dict[str, Any]:
    return {
        "postgres": lambda: True,
        "redis": lambda: _pings(ports, SECRETS["REDIS_PASSWORD"]),
        "seaweedfs": lambda: _is_well(f"http://127.0.0.1:{ports.s3}/healthz"),
    }


def _pings(ports: Ports, password: str | None) -> bool:
    with Redis(port=ports.redis, password=password, retry=Retry(NoBackoff(), 0)) as client:
        try:
            return bool(client.ping())  # pyright: ignore[reportUnknownMemberType] -- redis's annotations
        except AuthenticationError:
            raise
        except RedisError:
            return False


def _is_well(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False, timeout=60).is_success
    except httpx.TransportError:
        return False


def test_the_services_of_compose_serve_jobs_and_batches(host: Host, ports: Ports, receiver: Receiver) -> None:
    try:
        host.up(_healthy(ports), patiently, running={"postgres"})
        patiently(lambda: _is_well(f"{ports.url}/readyz"))
        account = json.loads(host.run("api", "keys", "create", "acme", "--funds", "1", "--json"))
        with httpx.Client(base_url=ports.url, headers={"api-key": account["key"]}, timeout=60) as client:
            queued = _submit(client, {"X-Webhook-URL": receiver.url})
            backfill = _submit(client, {"X-Lane": "backfill"})
            body = json.loads(
                receiver.webhook(account["webhook_secret"], DemoDeadline.after(START_SECONDS))[1]
            )
            assert (body["request_id"], body["status"]) == (queued, "COMPLETED")
            assert _last_event(client, backfill)["status"] == "COMPLETED"
            assert _results_of_a_batch(client)["custom_id"] == LINE["custom_id"]
        _is_read_by_strangers_and_not_listed(body["output"]["media_url"][0], ports)
        with pytest.raises(AuthenticationError):
            _pings(ports, None)
        assert set(host.stop().values()) == {0}
        assert "unusable" not in host.logs()  # a folder that a process wants, and its container does not have
    except BaseException as missing:
        missing.add_note(host.logs())
        raise


def _submit(client: httpx.Client, headers: dict[str, str]) -> str:
    answer = client.post(f"/{MODEL}/v1/{MODEL}-request", json={"prompt": "a lighthouse"}, headers=headers)
    assert answer.status_code == 202, answer.text
    return answer.json()["request_id"]


def _last_event(client: httpx.Client, request_id: str) -> dict[str, Any]:
    """The stream of events ends at the final status."""
    lines = client.get(f"/v2/requests/{request_id}/events").text.splitlines()
    data = [line.removeprefix("data:") for line in lines if line.startswith("data:")]
    return cast("dict[str, Any]", json.loads(data[-1]))


def _results_of_a_batch(client: httpx.Client) -> dict[str, Any]:
    """A file of one line goes through the queue `backfills`; the line of its results."""
    key = {"Authorization": f"Bearer {client.headers['api-key']}"}
    file = {"file": ("lines.jsonl", json.dumps(LINE).encode())}
    uploaded = client.post("/v1/files", files=file, data={"purpose": "batch"}, headers=key).json()
    asked = {"input_file_id": uploaded["id"], "endpoint": LINE["url"], "completion_window": "24h"}
    batch = client.post("/v1/batches", json=asked, headers=key).json()
    ended = dict[str, Any]()

    def is_completed() -> bool:
        ended.update(client.get(f"/v1/batches/{batch['id']}", headers=key).json())
        assert ended["status"] not in {"failed", "expired", "cancelled"}, ended
        return ended["status"] == "completed"

    patiently(is_completed)
    return client.get(f"/v1/files/{ended['output_file_id']}/content", headers=key).json()


def _is_read_by_strangers_and_not_listed(media_url: str, ports: Ports) -> None:
    assert media_url.startswith(f"{ports.bucket}/v1/")
    with Image.open(io.BytesIO(httpx.get(media_url, trust_env=False, timeout=60).content)) as image:
        assert image.size == (1024, 1024)
    assert httpx.get(f"{ports.bucket}?list-type=2", trust_env=False, timeout=60).status_code == 403


@pytest.mark.skipif(not namespaces(), reason="the system lets this user have no namespaces")
def test_without_containers_too_a_process_writes_its_volumes_alone(tmp_path: Path) -> None:
    volume, elsewhere = tmp_path / "volume", tmp_path / "elsewhere"
    volume.mkdir()
    script = 'echo x > "$1/written"; id -u; echo x > "$2"'
    command = confined([volume], ["/bin/sh", "-c", script, "sh", str(volume), str(elsewhere)])
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "Read-only file system" in done.stderr
    assert (done.stdout.strip(), (volume / "written").exists(), elsewhere.exists()) == ("4711", True, False)
