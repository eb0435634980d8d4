"""docs/deployment.md names commands that exist; systemd takes the unit, which starts one of them."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.compose import is_ours
from tests.house.checkout import text, understood

UNIT = "deploy/imagequeue.service"
PROGRAM = "/opt/imagequeue/bin/imagequeue"
ANALYZE = shutil.which("systemd-analyze")


PAGE = text("docs/deployment.md")
LINES = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]
COMMANDS = {line for line in LINES if line.startswith("imagequeue ")} | {
    command for command in re.findall(r"`(imagequeue [^`]+)`", PAGE) if "..." not in command
}
SERVICES = yaml.safe_load(text("docker-compose.yml"))["services"]


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_of_the_page_exists(command: str) -> None:
    assert understood(shlex.split(command)[1:]) is None


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("docker compose ")])
def test_every_service_that_the_page_names_is_in_compose(line: str) -> None:
    verb, *words = line.removeprefix("docker compose ").split()
    assert verb in {"build", "exec", "run", "stop", "up"}
    named = [word for word in words if not word.startswith("-")]
    if verb in {"exec", "run"}:
        assert named[0] in SERVICES
    else:
        assert set(named) <= set(SERVICES)
    if verb == "run":
        assert understood(words[words.index(named[0]) + 1 :]) is None


def test_an_upgrade_stops_every_process_that_uses_the_schema() -> None:
    (line,) = [line for line in LINES if line.startswith("docker compose stop api")]
    ours = {name for name, service in SERVICES.items() if is_ours(service)}
    assert set(line.split()[3:]) == ours - {"migrate", "simulator"}


def test_the_page_starts_every_process_on_several_machines() -> None:
    ours = [one for one in SERVICES.values() if is_ours(one) and "profiles" not in one]
    shown = {tuple(shlex.split(command)[1:4]) for command in COMMANDS}
    assert {tuple(one["command"][:3]) for one in ours} <= shown


def _value(name: str) -> str:
    (found,) = re.findall(rf"^{name}=(.*)$", text(UNIT), re.MULTILINE)
    return found


def test_the_command_is_one_of_ours_and_the_page_installs_it() -> None:
    program, *words = shlex.split(_value("ExecStart"))
    assert (program, understood(words)) == (PROGRAM, None)
    for installed in (UNIT, _value("EnvironmentFile"), words[words.index("--catalog") + 1]):
        assert installed in PAGE
    assert f"useradd --system --user-group --home-dir {_value('WorkingDirectory')}" in PAGE
    assert words[words.index("--data-dir") + 1] == f"/var/lib/{_value('StateDirectory')}"


def test_systemd_kills_later_than_the_supervisor_does() -> None:
    words = shlex.split(_value("ExecStart"))
    assert int(_value("TimeoutStopSec")) > float(words[words.index("--stop-timeout") + 1])
    assert _value("KillMode") == "mixed"


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "imagequeue.service"
    unit.write_text(text(UNIT).replace(PROGRAM, "/bin/true"), "utf-8")
    done = subprocess.run(
        [str(ANALYZE), "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
