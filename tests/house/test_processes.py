"""The processes of docker-compose.yml, one by one against servers behind URLs, serve a job without `up`."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer
from PIL import Image
from sqlalchemy import URL, create_engine, text
from sqlalchemy.pool import NullPool

from cli.demo.deadline import DemoDeadline
from cli.demo.receiver import Receiver
from cli.stack.servers.port import free
from cli.stack.servers.redis import EmbeddedRedis
from cli.stack_hooks import simulator_catalog
from simulator.config import DEMO_KEY
from tests.house.checkout import ROOT
from tests.house.test_containers import OURS

pytestmark = [pytest.mark.long, pytest.mark.server]

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "imagequeue",
    "AWS_SECRET_ACCESS_KEY": "a secret",
    "AWS_DEFAULT_REGION": "us-east-1",
}
MODEL = "microsoft-mai-image-2-5"
STOP_SECONDS = 30


class Machine:
    """Processes with one environment; their output in files of `folder`."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        outside = {name: value for name, value in os.environ.items() if not name.startswith("IMAGEQUEUE_")}
        self.folder, self.environment = folder, {**outside, "PYTHONPATH": str(ROOT), **environment}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, service: str, *more: str) -> subprocess.Popen[bytes]:
        """Start what compose starts for a service; later options win over earlier ones."""
        with (self.folder / f"{service}.log").open("w") as log:
            self.processes[service] = subprocess.Popen(
                [sys.executable, "-m", "cli", *OURS[service]["command"], *more],
                env=self.environment,
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        return self.processes[service]

    def run(self, *words: str) -> str:
        """Run a command to its end; what it prints."""
        command = [sys.executable, "-m", "cli", *words]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def stop(self) -> dict[str, int]:
        """End all with SIGTERM; their exit statuses."""
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        return {name: process.wait(STOP_SECONDS) for name, process in self.processes.items()}

    def logs(self) -> str:
        """Everything that they said."""
        return "\n".join(f"--- {path.name}\n{path.read_text()}" for path in self.folder.glob("*.log"))

    def close(self) -> None:
        """Leave nothing behind."""
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()


@pytest.fixture
def empty_database(postgres_url: URL) -> Iterator[str]:
    """A database without any table: the command `migrate` is part of the test."""
    server = create_engine(postgres_url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    name = f"processes_{os.getpid()}"
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield postgres_url.set(drivername="postgresql", database=name).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """A Redis of this test's own."""
    with EmbeddedRedis(tmp_path / "redis").running() as server:
        yield server.url


@pytest.fixture
def bucket() -> Iterator[str]:
    """An S3 service with the bucket that compose's `bucket` makes; its address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(  # pyright: ignore[reportUnknownMemberType]  # stubs for S3 only
        "s3",
        endpoint_url=f"http://{host}:{port}",
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        region_name=CREDENTIALS["AWS_DEFAULT_REGION"],
    )
    client.create_bucket(Bucket="imagequeue")
    client.close()
    yield f"http://{host}:{port}"
    server.stop()


@contextlib.contextmanager
def _machine(folder: Path, environment: Mapping[str, str]) -> Generator[Machine]:
    machine = Machine(folder, environment)
    try:
        yield machine
    finally:
        machine.close()


def _until_answered(url: str, deadline: DemoDeadline) -> None:
    """Ask as a load balancer does."""
    while True:
        deadline.left(url)
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url, trust_env=False, timeout=60).is_success:
                return


def test_every_process_by_itself_serves_a_job(
    tmp_path: Path, empty_database: str, redis_url: str, bucket: str
) -> None:
    port, simulator_port, catalog = free(), free(), tmp_path / "catalog.toml"
    url, simulator = f"http://127.0.0.1:{port}", f"127.0.0.1:{simulator_port}"
    catalog.write_text(simulator_catalog(f"http://{simulator}"))
    with Receiver().open() as receiver:
        environment = {
            "IMAGEQUEUE_DATABASE_URL": empty_database,
            "IMAGEQUEUE_REDIS_URL": redis_url,
            "IMAGEQUEUE_SECRET_KEY": "a secret key of this test that is long enough",
            "IMAGEQUEUE_CATALOG": str(catalog),
            "IMAGEQUEUE_PUBLIC_URL": url,
            "IMAGEQUEUE_STORAGE_URL": "s3://imagequeue/some/prefix",
            "IMAGEQUEUE_S3_ENDPOINT_URL": bucket,
            "IMAGEQUEUE_EGRESS_ALLOW": f"{receiver.address},{simulator}",
            "SIMULATOR_KEY": DEMO_KEY,
            **CREDENTIALS,
        }
        with _machine(tmp_path, environment) as machine:
            machine.start("simulator", "--host", "127.0.0.1", "--port", str(simulator_port))
            assert machine.start("migrate").wait(60) == 0, machine.logs()
            machine.start("api", "--host", "127.0.0.1", "--port", str(port))
            for service in ("dispatcher", "worker-interactive", "worker-backfill", "worker-deliveries"):
                machine.start(service)
            account = json.loads(machine.run("keys", "create", "acme", "--funds", "1", "--json"))
            _until_answered(f"http://{simulator}/_sim/config", DemoDeadline.after(60))
            _until_answered(f"{url}/readyz", DemoDeadline.after(60))
            queued = _submit(url, account["key"], {"X-Webhook-URL": receiver.url})
            backfill = _submit(url, account["key"], {"X-Lane": "backfill"})
            body = _announced(receiver, account["webhook_secret"], machine)
            assert (body["request_id"], body["status"]) == (queued, "COMPLETED")
            assert _size(body["output"]["media_url"][0], url) == (1024, 1024)
            assert _last_event(url, account["key"], backfill)["status"] == "COMPLETED"
            assert set(machine.stop().values()) == {0}, machine.logs()


def _submit(url: str, key: str, headers: dict[str, str]) -> str:
    answer = httpx.post(
        f"{url}/{MODEL}/v1/{MODEL}-request",
        json={"prompt": "a lighthouse"},
        headers={"api-key": key, **headers},
        trust_env=False,
    )
    assert answer.status_code == 202, answer.text
    return answer.json()["request_id"]


def _announced(receiver: Receiver, secret: str, machine: Machine) -> dict[str, Any]:
    try:
        _webhook_id, body = receiver.webhook(secret, DemoDeadline.after(60))
    except Exception as missing:
        missing.add_note(machine.logs())
        raise
    return json.loads(body)


def _size(media_url: str, own: str) -> tuple[int, int]:
    """The URL is the API's, needs no key, and leads to the bucket."""
    assert media_url.startswith(f"{own}/media/")
    answer = httpx.get(media_url, follow_redirects=True, trust_env=False)
    assert [step.status_code for step in answer.history] == [302]
    with Image.open(io.BytesIO(answer.content)) as image:
        return image.size


def _last_event(url: str, key: str, request_id: str) -> dict[str, Any]:
    """The stream of events ends at the final status."""
    events = f"{url}/v2/requests/{request_id}/events"
    answer = httpx.get(events, headers={"api-key": key}, timeout=60, trust_env=False)
    data = [line.removeprefix("data:") for line in answer.text.splitlines() if line.startswith("data:")]
    return cast("dict[str, Any]", json.loads(data[-1]))
