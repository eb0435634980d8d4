"""The services of docker-compose.yml without containers: processes of this machine, in the file's order.

Each process gets the environment that compose would give it, and no variable of the test's. Host names become
ports of loopback, volumes become folders. Where the system allows namespaces, a process of ours sees what it
would see in its container: a file system that is read-only but for its volumes, and a user id without a name.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tests.compose import is_ours
from tests.house.checkout import ROOT

STOP_SECONDS = 120
COMMAND_SECONDS = 120

_CONFINED = """
while [ "$1" != -- ]; do mount --bind "$1" "$1"; shift; done
shift
mount -o remount,bind,ro /
exec unshare --user --map-user=4711 --map-group=4711 -- "$@"
"""
"""Makes the folders that it is given stay writable, and all else read-only; then a command follows `--`."""


@cache
def namespaces() -> bool:
    """Whether the system lets this user have namespaces; many containers refuse them."""
    if shutil.which("unshare") is None:
        return False
    done = subprocess.run(_confined([], ["true"]), capture_output=True, check=False, timeout=COMMAND_SECONDS)
    return done.returncode == 0


def _confined(writable: Sequence[Path], command: Sequence[str]) -> list[str]:
    enter = ["unshare", "--user", "--map-root-user", "--mount", "/bin/sh", "-ec", _CONFINED, "sh"]
    return [*enter, *map(str, writable), "--", *command]


def confined(writable: Sequence[Path], command: Sequence[str]) -> list[str]:
    """`command` as in a container, with these folders for its volumes; as it is where that is refused."""
    return _confined(writable, command) if namespaces() else list(command)


@dataclass(slots=True)
class Host:
    """A machine for the services. Their output is in files of `folder`.

    `places`: what stands in the file, and what takes its place here, such as `redis:6379`. `options`: words
    after those of a service's command. `programs`: a folder with the programs of the other images.
    """

    folder: Path
    services: Mapping[str, Mapping[str, Any]]
    places: Mapping[str, str]
    options: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict[str, subprocess.Popen[bytes]])

    @property
    def programs(self) -> Path:
        """Where the programs of the other images are."""
        return self.folder / "programs"

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Start what compose starts for a service."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self._command(name), env=self.environment(name), stdout=log, stderr=log, cwd="/"
            )
        return self.processes[name]

    def run(self, name: str, *words: str) -> str:
        """`docker compose run --rm NAME WORDS`; what it prints."""
        command = confined(self._volumes(name), [sys.executable, "-P", "-m", "cli", *words])
        done = subprocess.run(
            command,
            env=self.environment(name),
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_SECONDS,
            cwd="/",
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def environment(self, name: str) -> dict[str, str]:
        """What the file gives the service, and where our modules are; nothing of the test's environment."""
        service = self.services[name]
        given = {name: self._here(str(value)) for name, value in service["environment"].items()}
        if not is_ours(service):
            return {"PATH": f"{self.programs}:{os.defpath}", **given}
        return {"PATH": os.defpath, "PYTHONPATH": str(ROOT), "TMPDIR": str(self._temporary(name)), **given}

    def up(
        self,
        healthy: Mapping[str, Callable[[], bool]],
        wait: Callable[[Callable[[], object]], None],
        *,
        running: Collection[str],
    ) -> None:
        """Start all services, each when what it depends on is ready, as `docker compose up` does.

        Args:
            healthy: says of each service that another one waits for whether it answers.
            wait: waits until a question is answered with yes.
            running: services that are there already.
        """
        for name in self.order():
            conditions = self.services[name].get("depends_on", {})
            for other in (one for one, how in conditions.items() if how["condition"] == "service_healthy"):
                wait(healthy[other])
            if self.services[name]["restart"] == "on-failure":
                wait(lambda name=name: self.start(name).wait(COMMAND_SECONDS) == 0)
                del self.processes[name]
            elif name not in running:
                self.start(name)

    def order(self) -> Iterator[str]:
        """The services, each after those that it depends on."""
        told = set[str]()
        while len(told) < len(self.services):
            for name, service in self.services.items():
                if name not in told and told >= set(service.get("depends_on", ())):
                    told.add(name)
                    yield name

    def stop(self) -> dict[str, int]:
        """End our processes with SIGTERM, those first that depend on others; their exit statuses."""
        statuses = dict[str, int]()
        for name in reversed(list(self.order())):
            if name in self.processes and is_ours(self.services[name]):
                process = self.processes.pop(name)
                process.send_signal(signal.SIGTERM)
                statuses[name] = process.wait(STOP_SECONDS)
        return statuses

    def logs(self) -> str:
        """Everything that they said."""
        return "\n".join(f"--- {path.name}\n{path.read_text()}" for path in self.folder.glob("*.log"))

    def close(self) -> None:
        """Leave nothing behind."""
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()

    def _command(self, name: str) -> list[str]:
        service, more = self.services[name], self.options.get(name, ())
        words = [self._here(word) for word in service["command"]]
        if is_ours(service):
            # `-P` keeps the current folder off the import path, as the console script does.
            return confined(self._volumes(name), [sys.executable, "-P", "-m", "cli", *words, *more])
        return [*service["entrypoint"], *words]

    def _volumes(self, name: str) -> list[Path]:
        """The folders that stand for the volumes that the service may write, and for its /tmp."""
        shared = [volume.rpartition(":")[2] for volume in self.services[name]["volumes"] if ":" in volume]
        kept = [Path(self._here(target)) for target in shared if target != "ro"]
        for folder in (kept := [*kept, self._temporary(name)]):
            folder.mkdir(parents=True, exist_ok=True)
        return kept

    def _temporary(self, name: str) -> Path:
        return self.folder / "temporary" / name

    def _here(self, value: str) -> str:
        for there, here in self.places.items():
            value = value.replace(there, here)
        return value
