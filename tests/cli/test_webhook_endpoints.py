"""`imagequeue webhooks endpoints`: made, shown, tried, changed and deleted from a shell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from standardwebhooks import Webhook
from starlette.applications import Starlette
from starlette.routing import Route

from tests.api.service import serving
from tests.cli.shell import Shell
from tests.lifecycle.deliver.receiving import Receiver
from tests.servers import ServerThread


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver; its address is `url`."""
    made = Receiver()
    with ServerThread(Starlette(routes=[Route("/hook", made.take, methods=["POST"])])) as server:
        made.url = f"{server.url}/hook"
        yield made


@pytest.fixture
def shell(engine: Engine, database_url: str, tmp_path: Path, receiver: Receiver) -> Iterator[Shell]:
    """A shell of a user whose server may reach the receiver."""
    allow = receiver.url.removeprefix("http://").removesuffix("/hook")
    storage = f"file://{tmp_path}/media"
    with serving(engine, database_url, storage_url=storage, egress_allow=allow) as service:
        yield Shell(service.client())


def test_an_endpoint_is_made_tried_changed_and_deleted(shell: Shell, receiver: Receiver) -> None:
    endpoints = ("webhooks", "endpoints")
    made = json.loads(
        shell.run(*endpoints, "create", "mine", receiver.url, "--event", "request.*", "--json").stdout
    )
    assert "it answered 200" in shell.run(*endpoints, "test", made["id"]).stdout
    ((headers, body),) = receiver.got
    assert Webhook(made["signing_secret"]).verify(body, headers)["type"] == "request.completed"
    changed = shell.run(*endpoints, "update", made["id"], "--name", "ours", "--event", "batch.*").stdout
    listed = shell.run(*endpoints, "list").stdout
    for shown in (changed, listed):
        assert all(told in shown for told in (made["id"], "ours", receiver.url, "batch.*"))
        assert "request.*" not in shown
        assert made["signing_secret"] not in shown
    assert shell.run(*endpoints, "delete", made["id"]).stdout == "deleted\n"
    assert json.loads(shell.run(*endpoints, "list", "--json").stdout)["data"] == []
    assert "No webhook endpoint" in shell.run(*endpoints, "test", made["id"], status=1).stderr


def test_a_rotation_prints_the_new_secret_and_with_an_overlap_both_sign(
    shell: Shell, receiver: Receiver
) -> None:
    endpoints = ("webhooks", "endpoints")
    shown, old = shell.run(*endpoints, "create", "all", receiver.url).stdout.split()
    same, new = shell.run(*endpoints, "rotate-secret", shown, "--overlap").stdout.split()
    assert (same == shown, new == old) == (True, False)
    shell.run(*endpoints, "test", shown, "--event", "batch.paused")
    ((headers, body),) = receiver.got
    for secret in (old, new):
        assert Webhook(secret).verify(body, headers)["type"] == "batch.paused"


def test_an_endpoint_that_is_refused_is_told_in_one_line(shell: Shell) -> None:
    refused = shell.run("webhooks", "endpoints", "create", "mine", "https://10.0.0.1/hook", status=1).stderr
    assert len(refused.splitlines()) == 1
    unknown = ("webhooks", "endpoints", "create", "mine", "https://a.example/hook", "--event", "no.such")
    assert "event_types must be" in shell.run(*unknown, status=1).stderr


def test_an_endpoint_without_named_events_is_told_of_all(shell: Shell, receiver: Receiver) -> None:
    made = json.loads(shell.run("webhooks", "endpoints", "create", "all", receiver.url, "--json").stdout)
    assert made["event_types"] == ["request.*", "batch.*"]
