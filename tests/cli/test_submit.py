"""`imagequeue submit`, as a user's shell runs it."""

from __future__ import annotations

import json

from tests.cli.shell import Shell


def test_submit_prints_the_id_that_status_takes(shell: Shell) -> None:
    request_id = shell.run(
        "submit", "a red fox", "-n", "2", "--ratio", "16:9", "--format", "webp"
    ).stdout.strip()
    assert shell.run("status", request_id).stdout.strip() == f"{request_id}  QUEUED"
    body = json.loads(shell.run("status", request_id, "--json").stdout)
    assert body["request_id"] == request_id
    assert shell.client.wallet()["held"] == "0.078"


def test_repeating_a_submit_with_its_key_is_safe(shell: Shell) -> None:
    words = ("submit", "a red fox", "--idempotency-key", "k", "--json")
    assert shell.run(*words).stdout == shell.run(*words).stdout
    assert shell.client.service.rows()["jobs"] == 1
