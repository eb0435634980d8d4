"""docs/configuration.md has every setting, with the default that the code has, and nothing else."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from cli.remote import DEFAULT_URL
from imagequeue.domain.errors import ConfigurationError
from imagequeue.domain.webhooks import DEFAULT_SCHEDULE
from imagequeue.settings import CLIENT_VARIABLES, PREFIX, Settings, refuse_unknown_variables
from tests.house.checkout import text

DOCUMENT = text("docs/configuration.md")
ROWS: dict[str, str] = dict(
    re.findall(r"^\| `(IMAGEQUEUE_\w+)` \| (.*?) \| .{15,} \|$", DOCUMENT, re.MULTILINE)
)


def _shown(default: Any) -> str:
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    if default is PydanticUndefined:
        return "required"
    if default is None:
        return "none"
    return f"`{default}`" if str(default) else "empty"


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_documented_with_its_default(name: str) -> None:
    assert ROWS[PREFIX + name.upper()] == _shown(Settings.model_fields[name].default)


def test_nothing_else_is_documented() -> None:
    assert set(ROWS) == {PREFIX + name.upper() for name in Settings.model_fields} | CLIENT_VARIABLES
    assert ROWS["IMAGEQUEUE_URL"] == f"`{DEFAULT_URL}`"


def test_the_schedule_is_the_one_of_the_code() -> None:
    assert ", ".join(f"{seconds:.0f}" for seconds in DEFAULT_SCHEDULE) in DOCUMENT


def test_the_error_names_the_variable_and_the_document() -> None:
    refuse_unknown_variables(dict.fromkeys(ROWS, "x") | {"IMAGEQUEUE_SERVICE_HOST": "", "HOME": ""})
    refuse_unknown_variables({"IMAGEQUEUE_TEST_S3": "require", "IMAGEQUEUE_IMAGE": "x"})
    with pytest.raises(ConfigurationError, match=r"IMAGEQUEUE_REDIS.*docs/configuration\.md"):
        refuse_unknown_variables({"IMAGEQUEUE_REDIS": "x"})
