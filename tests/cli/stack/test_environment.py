"""What a stack takes from the environment, and what it adds."""

from pathlib import Path

import pytest

from cli.stack import environment
from cli.stack.supervisor.errors import StackError


def test_the_environment_is_ours_s3s_and_the_keys_of_the_catalog() -> None:
    catalog = '[[deployments]]\nkey_env = "MY_KEY"\n[[deployments]]\nauth = "entra"\n'
    outside = {"IMAGEQUEUE_A": "1", "AWS_REGION": "2", "MY_KEY": "3", "HOME": "4"}
    assert environment.inherited(outside, catalog) == {"IMAGEQUEUE_A": "1", "AWS_REGION": "2", "MY_KEY": "3"}


@pytest.mark.parametrize(("before", "after"), [("", "a:1"), ("10.0.0.0/8", "10.0.0.0/8,a:1")])
def test_the_simulator_is_allowed_next_to_what_was(before: str, after: str) -> None:
    assert environment.with_allowed(before, "a:1") == after


@pytest.mark.parametrize("text", [None, "not = [toml"])
def test_a_catalog_that_cannot_be_read_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "mine.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(StackError, match=r"mine\.toml cannot be read"):
        environment.read_catalog(path)
