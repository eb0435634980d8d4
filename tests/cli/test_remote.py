"""What a client command says when the server refuses, or is not there."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.cli.shell import Shell
from tests.servers import ServerThread


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


@pytest.mark.parametrize(
    "words",
    [
        ("submit", "a fox"),
        ("status", "x"),
        ("watch", "x"),
        ("webhooks", "deliveries", "x"),
        ("webhooks", "redeliver", "x"),
        ("webhooks", "recover", "--since", "2026-03-31T10:00:00Z"),
        ("webhooks", "recovery", "x"),
        ("webhooks", "endpoints", "list"),
        ("webhooks", "endpoints", "create", "mine", "https://receiver.example/hook"),
        ("webhooks", "endpoints", "update", "x", "--name", "mine"),
        ("webhooks", "endpoints", "delete", "x"),
        ("webhooks", "endpoints", "test", "x"),
        ("webhooks", "endpoints", "rotate-secret", "x"),
    ],
)
@pytest.mark.parametrize(
    "body", [b"<html>a page</html>", b"", b"[1]", b"null", b'"text"', b"\xff\xfe", b'{"another": "service"}']
)
def test_a_server_that_is_no_imagequeue_is_told_in_one_line(
    shell: Shell, words: list[str], body: bytes
) -> None:
    async def answer(request: Request) -> Response:
        del request
        return Response(body)

    routes = [Route("/{path:path}", answer, methods=["GET", "POST", "DELETE"])]
    with ServerThread(Starlette(routes=routes)) as server:
        shell.environment["IMAGEQUEUE_URL"] = server.url
        result = shell.run(*words, status=1)
    assert "is IMAGEQUEUE_URL right" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("key", ["schlüssel", "a key", "key\nX-Other: 1", "\udcff", "\x7f"])
def test_a_key_that_cannot_be_one_is_refused_by_name_and_not_repeated(shell: Shell, key: str) -> None:
    shell.environment["IMAGEQUEUE_KEY"] = key
    result = shell.run("status", "x", status=1)
    assert result.stderr.startswith("imagequeue: IMAGEQUEUE_KEY is not an API key")
    assert key not in result.stderr


def test_white_space_around_a_key_does_not_count(shell: Shell) -> None:
    shell.environment["IMAGEQUEUE_KEY"] = f" {shell.client.key}\n"
    assert "QUEUED" not in shell.run("submit", "a red fox").stdout


@pytest.mark.parametrize(
    "url", ["nonsense", "http://", "http://[", "ftp://127.0.0.1", "http://127.0.0.1:port"]
)
def test_a_url_that_is_none_is_told_in_one_line(shell: Shell, url: str) -> None:
    shell.environment["IMAGEQUEUE_URL"] = url
    assert len(shell.run("status", "x", status=1).stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("submit", "a fox", "--webhook", "https://exämple.com/ü"),
        ("submit", "a fox", "--idempotency-key", "schlüssel"),
        ("submit", "a fox", "--lane", "über"),
        ("submit", "a fox", "--model", "../v2/ä?#"),
        ("submit", "a fox \udcff"),
        ("submit", "a fox", "--idempotency-key", "a\nb"),
        ("status", "../../ä?#"),
        ("status", "\udcff"),
        ("watch", "\udcff"),
    ],
)
def test_words_beyond_ascii_end_no_command_with_a_traceback(shell: Shell, words: list[str]) -> None:
    assert len(shell.run(*words, status=1).stderr.splitlines()) == 1
