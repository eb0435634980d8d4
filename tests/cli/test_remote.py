"""What a client command says when the server refuses, or is not there."""

from __future__ import annotations

import pytest

from tests.cli.shell import Shell


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("submit", "ab"), "400 Bad Request: prompt"),
        (("submit", "a fox", "--lane", "express"), "X-Lane"),
        (("submit", "a fox", "--model", "nope"), "Model 'nope' not found"),
        (("status", "nothing"), "404 Not Found"),
    ],
)
def test_the_servers_reason_is_shown(shell: Shell, words: list[str], complaint: str) -> None:
    result = shell.run(*words, status=1)
    assert complaint in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_missing_key_or_server_is_told_in_one_line(shell: Shell) -> None:
    shell.environment["IMAGEQUEUE_KEY"] = None
    assert "IMAGEQUEUE_KEY" in shell.run("status", "x", status=1).stderr
    shell.environment |= {"IMAGEQUEUE_KEY": "x", "IMAGEQUEUE_URL": "http://127.0.0.1:1"}
    assert "does not answer" in shell.run("status", "x", status=1).stderr
