"""`imagequeue listen`: what it answers and what it prints."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from openai import InvalidWebhookSignatureError, OpenAI

from cli.listen import Listening, checked
from imagequeue.domain.errors import InvalidRequest
from imagequeue.signing import new_webhook_secret, sign
from tests.loopback import NO_TLS

BODY = b'{"request_id":"m_1","status":"COMPLETED"}'
SECRET = new_webhook_secret()


def _signed(*secrets: str, webhook_id: str = "msg_1", body: bytes = BODY) -> dict[str, str]:
    headers = sign(webhook_id, datetime.now(UTC), body, secrets or (SECRET,))
    return headers | {"x-webhook-attempt": "1"}


@contextmanager
def _listening(*words: str, secret: str = SECRET) -> Generator[tuple[str, subprocess.Popen[str]]]:
    """A listener in a process of its own, on a free port."""
    command = [sys.executable, "-m", "cli", "listen", "--port", "0", *words]
    process = subprocess.Popen(
        command,
        env=os.environ | {"WEBHOOK_SECRET": secret},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr
        try:
            yield process.stderr.readline().split()[-1], process
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(120) == 0


def _answer_to_the_head(url: str, name: str, value: str) -> int:
    """The status that answers a request whose body is never sent."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=120)
    connection.putrequest("POST", "/")
    connection.putheader(name, value)
    connection.endheaders()
    with closing(connection), connection.getresponse() as answer:
        return answer.status


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline()


def test_what_was_signed_is_taken_and_printed_and_the_rest_is_refused() -> None:
    with _listening() as (url, process):
        assert httpx.post(url, content=BODY, headers=_signed(), verify=NO_TLS).status_code == 204
        assert _line(process) == 'verified  msg_1  {"request_id":"m_1","status":"COMPLETED"}\n'
        assert httpx.post(url, content=BODY, headers=_signed(), verify=NO_TLS).status_code == 204
        assert _line(process).startswith("verified  repeated  msg_1")
        assert (
            httpx.post(url, content=BODY, headers=_signed(new_webhook_secret()), verify=NO_TLS).status_code
            == 401
        )
        assert _line(process).startswith("WRONG SIGNATURE  msg_1")
        assert httpx.post(url, content=b"\xff", headers=_signed(), verify=NO_TLS).status_code == 401
        assert _line(process).startswith("WRONG SIGNATURE")


def test_it_answers_as_it_is_told_and_prints_json_for_programs() -> None:
    with _listening("--status", "503", "--json") as (url, process):
        assert (
            httpx.post(
                url, content=BODY, headers=_signed(new_webhook_secret(), SECRET), verify=NO_TLS
            ).status_code
            == 503
        )
        printed: dict[str, Any] = json.loads(_line(process))
    assert printed == {
        "webhook_id": "msg_1",
        "attempt": "1",
        "verified": True,
        "repeated": False,
        "body": {"request_id": "m_1", "status": "COMPLETED"},
    }


def test_a_body_that_is_too_long_or_has_no_length_is_not_read() -> None:
    with _listening() as (url, _):
        assert _answer_to_the_head(url, "Transfer-Encoding", "chunked") == 411
        assert _answer_to_the_head(url, "Content-Length", "-1") == 411
        assert _answer_to_the_head(url, "Content-Length", "9999999") == 413


def test_a_terminal_gets_nothing_but_ascii_from_strangers() -> None:
    received = Listening([]).take({"webhook-id": "\x1b[2Jé"}, '"\x1b[2J\u202e"'.encode())
    assert received.line().isascii()
    assert "\x1b" not in received.line()
    assert received.line().startswith("not verified")


def test_a_forged_webhook_does_not_make_the_true_one_a_repetition() -> None:
    listening = Listening([SECRET])
    assert listening.take(_signed(new_webhook_secret()), BODY).verified is False
    assert not listening.take(_signed(), BODY).repeated
    assert listening.take(_signed(), BODY).repeated


@pytest.mark.parametrize("secret", ["whsec_%", "whsec_x", "", "ü"])
def test_a_secret_that_is_none_is_refused_and_not_repeated(secret: str) -> None:
    with pytest.raises(InvalidRequest, match="whsec_ and base64"):
        checked([secret])


def test_the_openai_package_verifies_what_we_sign() -> None:
    webhooks = OpenAI(api_key="none").webhooks
    webhooks.verify_signature(BODY, _signed(new_webhook_secret(), SECRET), secret=SECRET)
    with pytest.raises(InvalidWebhookSignatureError):
        webhooks.unwrap(BODY, _signed(new_webhook_secret()), secret=SECRET)
