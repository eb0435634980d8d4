"""Dockerfile, compose and .env.example agree with the program and with each other."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from fastapi.routing import APIRoute

from api import health
from imagequeue.settings import CLIENT_VARIABLES, PREFIX, Settings
from tests.house.checkout import ROOT, text, understood

COMPOSE: dict[str, Any] = yaml.safe_load(text("docker-compose.yml"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "imagequeue"}
KNOWN = {PREFIX + name.upper() for name in Settings.model_fields} | CLIENT_VARIABLES
DOCKERFILE = text("Dockerfile").replace("\\\n", " ")


def _instructions(name: str) -> list[str]:
    return re.findall(rf"^\s*{name} +(.*)$", DOCKERFILE, re.MULTILINE)


def _example() -> dict[str, str]:
    lines = [line for line in text(".env.example").splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def _interpolated() -> set[str]:
    """The variables that compose takes from .env; `$$` is a dollar for the shell inside."""
    return set(re.findall(r"(?<!\$)\$\{(\w+)", text("docker-compose.yml")))


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_command_exists(name: str) -> None:
    assert understood(OURS[name]["command"]) is None


def test_a_command_that_does_not_exist_would_be_seen() -> None:
    assert understood(["workers"])
    assert understood(["worker", "--queue", "deliveries"])
    assert understood(["keys", "make", "acme"])
    assert understood(["keys", "create", "acme", "--funds", "10", "--json"]) is None


def test_every_process_has_a_service_and_every_queue_a_worker() -> None:
    commands = [service["command"] for service in OURS.values()]
    assert {command[0] for command in commands} == {"api", "dispatcher", "worker", "migrate", "simulator"}
    queues = {command[command.index("--queues") + 1] for command in commands if command[0] == "worker"}
    assert queues == {"generate.interactive", "generate.backfill", "deliveries", "backfills"}


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_variable_is_a_setting(name: str) -> None:
    ours = {variable for variable in OURS[name]["environment"] if variable.startswith(PREFIX)}
    assert not ours - KNOWN
    assert {"IMAGEQUEUE_DATABASE_URL", "IMAGEQUEUE_SECRET_KEY", "IMAGEQUEUE_CATALOG"} <= ours


def test_the_example_has_what_compose_asks_for_and_nothing_unknown() -> None:
    example = _example()
    assert not _interpolated() - set(example)
    assert not {name for name in example if name.startswith(PREFIX)} - KNOWN
    used = _interpolated() | {"COMPOSE_PROFILES", "SIMULATOR_KEY"}
    assert not set(example) - used


def test_secrets_have_no_default() -> None:
    example = _example()
    for secret in ("POSTGRES_PASSWORD", "S3_ADMIN_PASSWORD", "S3_PASSWORD", "IMAGEQUEUE_SECRET_KEY"):
        assert example[secret] == ""
        assert f"${{{secret}:?" in text("docker-compose.yml")
        assert f"${{{secret}:-" not in text("docker-compose.yml")


def test_dependencies_exist_and_can_become_what_is_waited_for() -> None:
    for name, service in SERVICES.items():
        for other, condition in service.get("depends_on", {}).items():
            wanted = condition["condition"]
            if wanted == "service_healthy":
                assert "test" in SERVICES[other]["healthcheck"], (name, other)
            else:
                assert wanted == "service_completed_successfully", (name, other)
                assert SERVICES[other]["restart"] == "on-failure", (name, other)


def test_every_volume_is_declared() -> None:
    sources = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())}
    assert {source for source in sources if re.fullmatch(r"\w+", source)} == set(COMPOSE["volumes"])


def test_the_simulator_is_a_profile_and_the_example_asks_for_it() -> None:
    assert SERVICES["simulator"]["profiles"] == ["simulator"]
    assert all("profiles" not in service for name, service in SERVICES.items() if name != "simulator")
    example = _example()
    assert example["COMPOSE_PROFILES"] == "simulator"
    command = SERVICES["simulator"]["command"]
    endpoint = f"simulator:{command[command.index('--port') + 1]}"
    assert endpoint in text(example["CATALOG_FILE"])
    assert endpoint in example["IMAGEQUEUE_EGRESS_ALLOW"]


def test_the_image_runs_the_console_script_as_nobody_special() -> None:
    assert _instructions("ENTRYPOINT") == ['["imagequeue"]']
    assert understood(json.loads(_instructions("CMD")[0])) is None
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", _instructions("USER")[-1])
    assert len(_instructions("FROM")) == 2


def test_the_image_asks_a_route_that_exists() -> None:
    (check,) = _instructions("HEALTHCHECK")
    paths = [route.path for route in health.router.routes if isinstance(route, APIRoute)]
    (asked,) = re.findall(r"'(/\w+)'", check)
    assert asked in paths
    assert json.loads(check[check.index("[") :])[0] == "python"


def test_what_the_image_copies_is_let_through() -> None:
    ignored = text(".dockerignore").splitlines()
    assert "*" in ignored
    for line in ignored:
        if line.startswith("!"):
            assert (ROOT / line[1:]).exists(), line
    programs = re.findall(r"^PROGRAMS = \((.*)\)", text("setup.py"), re.MULTILINE)[0]
    for package in ("imagequeue", *re.findall(r'"(\w+)"', programs)):
        assert f"!{package}" in ignored
    for needed in ("requirements/run.txt", "pyproject.toml", "setup.py", "README.md"):
        assert f"!{needed}" in ignored


def test_only_migrate_is_the_administrator_of_the_storage() -> None:
    who = {name: service["environment"]["AWS_ACCESS_KEY_ID"] for name, service in OURS.items()}
    assert {name for name, user in who.items() if user == "admin"} == {"migrate"}
    assert "--storage" in OURS["migrate"]["command"]
    (script,) = SERVICES["seaweedfs"]["command"]
    identities = json.loads(script[script.index("{") : script.index("END\n", script.index("{"))])[
        "identities"
    ]
    actions = {one["credentials"][0]["accessKey"]: one["actions"] for one in identities}
    assert set(actions) == {"admin", "imagequeue"}
    passwords = {name for name in _example() if name.endswith("_PASSWORD")}
    for service in OURS.values():
        assert {name: service["environment"].get(name) for name in passwords} == dict.fromkeys(passwords, "")
    bucket = OURS["api"]["environment"]["IMAGEQUEUE_STORAGE_URL"].removeprefix("s3://")
    assert all(action.endswith(f":{bucket}") for action in actions["imagequeue"])


def test_the_servers_behind_s3_listen_on_loopback_alone() -> None:
    (script,) = SERVICES["seaweedfs"]["command"]
    assert "-ip.bind=127.0.0.1" in script
    assert "-s3.ip.bind=0.0.0.0" in script
    assert SERVICES["seaweedfs"]["ports"] == ["127.0.0.1:8333:8333"]
