"""The samples of docs/webhooks.md take what we sign, also during a rotation, and nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from imagequeue.domain.webhooks import DEFAULT_SCHEDULE
from imagequeue.signing import new_webhook_secret, sign
from tests.house.checkout import text

BODY = '{"request_id":"m_1","status":"COMPLETED","text":"Lärm \\u0000 \\n"}'

Verify = Callable[["Message", Path], bool]


@dataclass(frozen=True)
class Message:
    """A webhook, and the secret that its receiver knows."""

    secret: str
    headers: Mapping[str, str]
    body: str


def _message(secret: str, *secrets: str, at: timedelta = timedelta(0)) -> Message:
    headers = sign("msg_1", datetime.now(UTC) + at, BODY.encode(), secrets)
    return Message(secret, headers, BODY)


def _sample(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", text("docs/webhooks.md"), re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def _python(message: Message, folder: Path) -> bool:
    scope: dict[str, object] = {}
    exec(compile(_sample("python"), "docs/webhooks.md", "exec"), scope)  # noqa: S102  # our own text
    verify = scope["verify"]
    assert callable(verify)
    try:
        return verify(message.secret, message.headers, message.body.encode()) == json.loads(BODY)
    except Exception:  # noqa: BLE001  # how a sample refuses
        return False


def _ran(folder: Path, message: Message, *command: str) -> bool:
    done = subprocess.run(
        command, input=message.body.encode(), cwd=folder, capture_output=True, check=False, timeout=120
    )
    assert done.returncode in (0, 1), done.stderr
    assert (done.returncode == 0) == (b"verified" in done.stdout), done.stderr
    return done.returncode == 0


_NODE = """
import {{ readFileSync }} from "node:fs";
import {{ verify }} from "./verify.mjs";
try {{
  verify({secret}, {headers}, readFileSync(0));
  console.log("verified");
}} catch (error) {{
  process.exitCode = 1;
}}
"""


def _node(message: Message, folder: Path) -> bool:
    (folder / "verify.mjs").write_text(_sample("js"), encoding="utf-8")
    given = {"secret": json.dumps(message.secret), "headers": json.dumps(dict(message.headers))}
    (folder / "run.mjs").write_text(_NODE.format(**given), encoding="utf-8")
    return _ran(folder, message, "node", "run.mjs")


_PHP = """
try {{
    verify({secret}, json_decode({headers}, true), file_get_contents("php://stdin"));
    echo "verified";
}} catch (Exception $error) {{
    exit(1);
}}
"""


def _php(message: Message, folder: Path) -> bool:
    quoted = "'" + json.dumps(dict(message.headers)) + "'"
    run = _PHP.format(secret=f"'{message.secret}'", headers=quoted)
    (folder / "run.php").write_text(_sample("php") + run, encoding="utf-8")
    return _ran(folder, message, "php", "run.php")


def _shell(message: Message, folder: Path) -> bool:
    (folder / "verify.sh").write_text(_sample("sh"), encoding="utf-8")
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    given = [message.headers[name] for name in names]
    return _ran(folder, message, "sh", "verify.sh", message.secret, *given)


def _needs(program: str, verify: Verify) -> object:
    missing = shutil.which(program) is None
    return pytest.param(
        verify, id=program, marks=pytest.mark.skipif(missing, reason=f"there is no {program} here")
    )


SAMPLES = [
    pytest.param(_python, id="python"),
    _needs("node", _node),
    _needs("php", _php),
    _needs("openssl", _shell),
]


@pytest.mark.parametrize("verify", SAMPLES)
def test_a_sample_takes_what_we_signed_and_nothing_else(verify: Verify, tmp_path: Path) -> None:
    secret, other = new_webhook_secret(), new_webhook_secret()
    signed = _message(secret, secret)
    assert verify(signed, tmp_path)
    assert verify(_message(secret, other, secret), tmp_path), "the second signature of a rotation"
    assert not verify(_message(secret, other), tmp_path), "another secret"
    assert not verify(replace(signed, body=BODY.replace("COMPLETED", "FAILED")), tmp_path)
    assert not verify(replace(signed, headers={**signed.headers, "webhook-id": "msg_2"}), tmp_path)
    for minutes in (-6, 6):
        assert not verify(_message(secret, secret, at=timedelta(minutes=minutes)), tmp_path)


def test_the_page_has_the_schedule_of_the_program() -> None:
    said = "at once, then after 5 s, 30 s, 2, 10 and 30 minutes, 2, 5, 10, 14, 20 and 24 hours"
    assert said in text("docs/webhooks.md").replace("\n", " ")
    hours = [2, 5, 10, 14, 20, 24]
    assert [0, 5, 30, 2 * 60, 10 * 60, 30 * 60, *(hour * 3600 for hour in hours)] == [*DEFAULT_SCHEDULE]
