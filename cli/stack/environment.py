"""The environment of every process of a stack, and of every later command on it."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cli.stack.supervisor.errors import StackError

PREFIX = "IMAGEQUEUE_"
_FOR_STORAGE = "AWS_"


def inherited(outside: Mapping[str, str], catalog: str) -> dict[str, str]:
    """Those of the user's variables that the stack takes over: ours, those of S3, the catalog's keys."""
    keys = key_variables(catalog)
    return {
        name: value
        for name, value in outside.items()
        if name.startswith((PREFIX, _FOR_STORAGE)) or name in keys
    }


def key_variables(catalog: str) -> set[str]:
    """The variables that a catalog names as `key_env`; nothing else in it is checked here."""
    deployments: list[dict[str, Any]] = tomllib.loads(catalog).get("deployments", [])
    return {str(deployment["key_env"]) for deployment in deployments if "key_env" in deployment}


def read_catalog(path: Path) -> str:
    """The text of a catalog file.

    Raises:
        StackError: it cannot be read or is not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
        tomllib.loads(text)
    except (OSError, ValueError) as wrong:
        raise StackError(f"The catalog {path} cannot be read: {wrong}") from wrong
    return text


def with_allowed(allowed: str, address: str) -> str:
    """`IMAGEQUEUE_EGRESS_ALLOW` with one more address."""
    return ",".join(part for part in (allowed, address) if part)
