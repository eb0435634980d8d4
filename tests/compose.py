"""docker-compose.yml as compose reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

import yaml

from tests.house.checkout import text

_VARIABLE = re.compile(r"\$\$|\$\{(?P<name>\w+)(?:(?P<how>:?[-?])(?P<rest>[^}]*))?\}")


class Unset(Exception):
    """A variable is needed and has no value; the message is the one that compose prints."""


def interpolate(value: str, variables: Mapping[str, str]) -> str:
    """A value of the file, as compose reads it.

    Raises:
        Unset: the value needs a variable that is not set.
    """

    def read(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        given, how = variables.get(found["name"]), found["how"] or ""
        if given is not None and (given or not how.startswith(":")):
            return given
        if how.endswith("?"):
            raise Unset(f"{found['name']}: {found['rest']}")
        return found["rest"] or ""

    return _VARIABLE.sub(read, value)


def services(variables: Mapping[str, str], file: str = "docker-compose.yml") -> dict[str, dict[str, Any]]:
    """The services, with their variables replaced and `env_file` read into `environment`.

    Raises:
        Unset: the file needs a variable that is not set.
    """
    found = cast("dict[str, dict[str, Any]]", _filled(yaml.safe_load(text(file))["services"], variables))
    for service in found.values():
        keys = text(service["env_file"]) if "env_file" in service else ""
        service["environment"] = assignments(keys) | service.get("environment", {})
    return found


def assignments(file: str) -> dict[str, str]:
    """The lines NAME=value of a file such as .env."""
    lines = [line for line in file.splitlines() if line and not line.startswith("#")]
    return dict(cast("tuple[str, str]", tuple(line.split("=", 1))) for line in lines)


def is_ours(service: Mapping[str, Any]) -> bool:
    """Whether a service runs our image."""
    return "build" in service


def _filled(value: object, variables: Mapping[str, str]) -> object:
    if isinstance(value, str):
        return interpolate(value, variables)
    if isinstance(value, list):
        return [_filled(one, variables) for one in cast("list[object]", value)]
    if isinstance(value, dict):
        return {key: _filled(one, variables) for key, one in cast("dict[str, object]", value).items()}
    return value
