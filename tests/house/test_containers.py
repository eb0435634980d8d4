"""Dockerfile, compose and .env.example agree with the program and with each other."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.routing import APIRoute
from packaging.specifiers import SpecifierSet

from api import health
from imagequeue.settings import CLIENT_VARIABLES, IMAGE_VARIABLE, PREFIX, Settings
from tests import compose
from tests.compose import is_ours
from tests.house.checkout import ROOT, text, understood

COMPOSE: dict[str, Any] = yaml.safe_load(text("docker-compose.yml"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if is_ours(service)}
KNOWN = {PREFIX + name.upper() for name in Settings.model_fields} | CLIENT_VARIABLES | {IMAGE_VARIABLE}
DOCKERFILE = text("Dockerfile").replace("\\\n", " ")
PASSWORDS = ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "S3_ADMIN_PASSWORD", "S3_PASSWORD")
COLUMNS = ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "IMAGEQUEUE_SECRET_KEY", "S3_PASSWORD", "SIMULATOR_KEY")
"""Those of the table in docs/deployment.md, "Who gets which secret"."""
OF_FILES_AND_SERVERS = {"DATABASE_POOLER", "REDIS_CA_FILE", "EGRESS_CA_FILE"}
"""Settings that only mean something beside a file or a server that this compose file does not have."""
DOCKER_COMPOSE = os.environ.get("DOCKER_COMPOSE") or shutil.which("docker-compose")


def _instructions(name: str) -> list[str]:
    return re.findall(rf"^\s*{name} +(.*)$", DOCKERFILE, re.MULTILINE)


def _example() -> dict[str, str]:
    return compose.assignments(text(".env.example"))


def _filled_in() -> dict[str, str]:
    """The example with a value for each line that is empty: the variable's own name, written twice."""
    return {name: value or f"{name}-{name}" for name, value in _example().items() if name != IMAGE_VARIABLE}


def _interpolated() -> set[str]:
    """The variables that compose takes from .env; `$$` is a dollar for the shell inside."""
    return set(re.findall(r"(?<!\$)\$\{(\w+)", text("docker-compose.yml")))


def _settings_with_a_default() -> set[str]:
    """Those that may stand in .env and need not: compose hands on an empty value, which is none."""
    return set(re.findall(r"\$\{(IMAGEQUEUE_\w+):-\}", text("docker-compose.yml")))


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
    assert _settings_with_a_default() < KNOWN


def test_every_setting_reaches_the_processes() -> None:
    given = {name.removeprefix(PREFIX).lower() for name in OURS["worker-interactive"]["environment"]}
    missing = set(Settings.model_fields) - given
    assert {name.upper() for name in missing} == OF_FILES_AND_SERVERS


def test_a_setting_in_the_file_of_the_user_reaches_the_api() -> None:
    services = compose.services(_filled_in() | {"IMAGEQUEUE_RETENTION_DAYS": "60"})
    assert services["api"]["environment"]["IMAGEQUEUE_RETENTION_DAYS"] == "60"


def test_the_example_has_what_compose_asks_for_and_nothing_unknown() -> None:
    example = _example()
    assert not _interpolated() - set(example) - _settings_with_a_default()
    assert not {name for name in example if name.startswith(PREFIX)} - KNOWN
    assert not set(example) - _interpolated() - {"COMPOSE_PROFILES"}


@pytest.mark.parametrize("secret", [*PASSWORDS, "IMAGEQUEUE_SECRET_KEY"])
def test_secrets_have_no_default(secret: str) -> None:
    assert _example()[secret] == ""
    assert f"${{{secret}:-" not in text("docker-compose.yml")
    with pytest.raises(compose.Unset, match=f"{secret}: set it in .env"):
        compose.services(_filled_in() | {secret: ""})


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_container_gets_the_secrets_of_the_documented_table_and_no_others(name: str) -> None:
    values = list(compose.services(_filled_in())[name]["environment"].items())
    marks = {secret: f"{secret}-{secret}" for secret in (*PASSWORDS, "IMAGEQUEUE_SECRET_KEY")}
    marks["SIMULATOR_KEY"] = compose.assignments(text("catalog.simulator.env"))["SIMULATOR_KEY"]
    given = {secret for secret, mark in marks.items() for _, value in values if mark in value}
    assert given == _documented(name)


def _documented(name: str) -> set[str]:
    (row,) = re.findall(rf"^\| `{name}` \| (.*) \|$", text("docs/deployment.md"), re.MULTILINE)
    cells = dict(zip(COLUMNS, row.split(" | "), strict=True))
    assert set(cells.values()) <= {"yes", "no", "the administrator's"}
    admin = {"S3_ADMIN_PASSWORD"} if "the administrator's" in cells.values() else set[str]()
    return {secret for secret, cell in cells.items() if cell == "yes"} | admin


def test_what_is_published_is_on_loopback_unless_the_user_says_otherwise() -> None:
    services = compose.services(_filled_in() | {"API_ADDRESS": "", "S3_ADDRESS": ""})
    published = {name: one["ports"] for name, one in services.items() if "ports" in one}
    assert published == {"api": ["127.0.0.1:8000:8000"], "seaweedfs": ["127.0.0.1:8333:8333"]}
    opened = compose.services(_filled_in() | {"API_ADDRESS": "0.0.0.0:80"})
    assert opened["api"]["ports"] == ["0.0.0.0:80:8000"]


def test_every_container_of_ours_is_read_only_and_every_log_has_an_end() -> None:
    assert {(one["read_only"], *one["cap_drop"]) for one in OURS.values()} == {(True, "ALL")}
    assert all(set(one["logging"]["options"]) == {"max-size", "max-file"} for one in SERVICES.values())


def test_the_image_is_the_one_that_the_user_names_or_is_built() -> None:
    named = compose.services(_filled_in() | {IMAGE_VARIABLE: "registry.example.com/imagequeue:1.2"})
    assert {named[name]["image"] for name in OURS} == {"registry.example.com/imagequeue:1.2"}
    assert {(one["image"], one["build"]) for one in _ours(_filled_in())} == {("imagequeue", ".")}


def _ours(variables: dict[str, str]) -> list[dict[str, Any]]:
    return [one for one in compose.services(variables).values() if is_ours(one)]


@pytest.mark.skipif(DOCKER_COMPOSE is None, reason="docker-compose is not installed (apt-get)")
def test_compose_reads_the_file_as_these_tests_do(tmp_path: Path) -> None:
    for name in ("docker-compose.yml", "catalog.simulator.env"):
        shutil.copy(ROOT / name, tmp_path)
    lines = [f"{name}={value}" for name, value in _filled_in().items()]
    (tmp_path / ".env").write_text("\n".join(lines), "utf-8")
    done = subprocess.run(
        [str(DOCKER_COMPOSE), "config"],
        cwd=tmp_path,
        env={"PATH": os.defpath, "COMPOSE_PROFILES": "simulator"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert not done.returncode, done.stderr
    read = yaml.safe_load(done.stdout)["services"]
    expected = compose.services(_filled_in())
    assert {name: one.get("environment", {}) for name, one in read.items()} == {
        name: one["environment"] for name, one in expected.items()
    }


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
    assert "--require-hashes" in DOCKERFILE
    assert "--only-binary :all:" in DOCKERFILE


def test_the_python_of_the_image_is_one_that_the_package_takes() -> None:
    (version,) = re.findall(r"^ARG PYTHON=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert {base.split()[0] for base in _instructions("FROM")} == {"python:${PYTHON}-slim"}
    project = tomllib.loads(text("pyproject.toml"))["project"]
    assert f"{version}.0" in SpecifierSet(project["requires-python"])


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


def test_the_user_of_the_storage_may_use_the_bucket_alone() -> None:
    (script,) = SERVICES["seaweedfs"]["command"]
    shown = script[script.index("{") : script.index("END\n", script.index("{"))]
    identities = json.loads(shown)["identities"]
    actions = {one["credentials"][0]["accessKey"]: one["actions"] for one in identities}
    assert set(actions) == {"admin", "imagequeue"}
    assert "--storage" in OURS["migrate"]["command"]
    bucket = OURS["api"]["environment"]["IMAGEQUEUE_STORAGE_URL"].removeprefix("s3://")
    assert all(action.endswith(f":{bucket}") for action in actions["imagequeue"])


def test_the_servers_behind_s3_listen_on_loopback_alone() -> None:
    (script,) = SERVICES["seaweedfs"]["command"]
    assert "-ip.bind=127.0.0.1" in script
    assert "-s3.ip.bind=0.0.0.0" in script


def test_no_password_stands_on_a_command_line() -> None:
    for name, service in SERVICES.items():
        lines = [line for word in service.get("command", []) for line in word.splitlines()]
        assert not [line for line in lines if line.startswith("exec") and "$" in line], name
        assert len(lines) == len(service.get("command", [])) or service["entrypoint"] == ["/bin/sh", "-ec"]
