"""The demo believes nothing that it has not checked, and leaves nothing behind when it fails."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
import pytest
from PIL import Image

from cli.demo import pictures, tour
from cli.demo.deadline import DemoDeadline
from cli.demo.errors import DemoFailed
from cli.demo.orders import ORDERS, Order
from cli.demo.receiver import Receiver
from cli.demo.result import require_completed
from cli.demo.stack import last_words
from cli.stack_hooks import simulator_catalog
from imagequeue.signing import new_webhook_secret, sign

ORDER = Order("microsoft-mai-image-2-5", "16:9", "a lighthouse")
SIZE = (1360, 768)
BODY = '{"status":"COMPLETED","prompt":"Türme"}'.encode()


def _picture(size: tuple[int, int], kind: str = "PNG") -> bytes:
    content = io.BytesIO()
    Image.new("RGB", size).save(content, kind)
    return content.getvalue()


def _deliver(receiver: Receiver, secret: str, body: bytes = BODY) -> None:
    headers = sign("msg_1", datetime.now(UTC), BODY, [secret])
    httpx.post(receiver.url, content=body, headers=headers, trust_env=False).raise_for_status()


def test_a_signed_callback_is_believed() -> None:
    secret = new_webhook_secret()
    with Receiver().open() as receiver:
        _deliver(receiver, secret)
        assert receiver.callback(secret, DemoDeadline.after(5)) == ("msg_1", BODY)


def test_a_changed_body_is_not_believed() -> None:
    secret = new_webhook_secret()
    with Receiver().open() as receiver:
        _deliver(receiver, secret, BODY.replace(b"COMPLETED", b"FAILED"))
        with pytest.raises(DemoFailed, match="signature"):
            receiver.callback(secret, DemoDeadline.after(5))


def test_another_accounts_signature_is_not_believed() -> None:
    with Receiver().open() as receiver:
        _deliver(receiver, new_webhook_secret())
        with pytest.raises(DemoFailed, match="signature"):
            receiver.callback(new_webhook_secret(), DemoDeadline.after(5))


def test_a_callback_that_never_comes_ends_the_demo() -> None:
    with Receiver().open() as receiver, pytest.raises(DemoFailed, match="callback"):
        receiver.callback(new_webhook_secret(), DemoDeadline.after(0.05))


def test_an_image_of_the_asked_size_is_kept(tmp_path: Path) -> None:
    content = _picture(SIZE)
    assert pictures.keep(content, ORDER, tmp_path / "image.png") == SIZE
    assert (tmp_path / "image.png").read_bytes() == content


@pytest.mark.parametrize(
    "content",
    [
        _picture((SIZE[1], SIZE[0])),
        _picture((1024, 1024)),
        _picture(SIZE, "JPEG"),
        _picture(SIZE)[:-200],
        b"<html>",
    ],
    ids=["turned", "square", "jpeg", "cut", "page"],
)
def test_anything_else_is_not(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DemoFailed):
        pictures.keep(content, ORDER, tmp_path / "image.png")
    assert not list(tmp_path.iterdir())


def test_a_job_that_failed_ends_the_demo_with_its_reason() -> None:
    with pytest.raises(DemoFailed, match="no deployment"):
        require_completed({"request_id": "r", "status": "ERROR", "error": "no deployment", "output": None})


def test_the_orders_have_files_of_their_own() -> None:
    files = [
        order.file_name(number, ordinal)
        for number, order in enumerate(ORDERS, 1)
        for ordinal in range(1, order.images + 1)
    ]
    assert len(set(files)) == len(files) == sum(order.images for order in ORDERS)
    assert sum(order.callback for order in ORDERS) == 1


def test_the_tour_comes_by_every_upstream(tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.toml"
    catalog.write_text(simulator_catalog("http://127.0.0.1:1"))
    every = tour.stops(catalog)
    editing = {"foundry-eastus", "foundry-westus", "omixa", "pixazo", "openrouter"}
    assert every == {("edit", name) for name in editing} | {("generate", name) for name in {*editing, "aiml"}}
    orders = list(tour.round_of(1, every, every))
    assert [order.edit for order in orders] == [False] * 6 + [True] * 5
    assert [order.edit for order in tour.round_of(2, every, {("edit", "omixa")})] == [True] * 10
    assert not list(tour.round_of(1, every, set()))


def test_the_last_words_are_those_of_every_log(tmp_path: Path) -> None:
    assert "no process" in last_words(tmp_path)
    (tmp_path / "up.log").write_text("imagequeue: stopping\n")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "api-1.log").write_text("first\n" * 1000 + "the reason\n")
    (tmp_path / "logs" / "redis.log").touch()
    words = last_words(tmp_path)
    assert words.startswith("--- up.log\nimagequeue: stopping\n--- api-1.log\n")
    assert words.endswith("the reason")


def _demo(folder: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "cli", "demo", "--output", str(folder / "images"), *words]
    return subprocess.Popen(
        command,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_demo_that_runs_out_of_time_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    with _demo(tmp_path, "--timeout", "1") as demo:
        output, errors = demo.communicate(timeout=60)
    assert demo.returncode == 1
    assert "imagequeue up" in errors
    assert "--- " in output
    assert not list(tmp_path.glob("imagequeue-demo-*"))


def test_a_terminated_demo_stops_its_stack(tmp_path: Path) -> None:
    with _demo(tmp_path) as demo:
        assert demo.stdout is not None
        assert "starting" in demo.stdout.readline()
        stack = _descendants_once_there(demo.pid)
        demo.send_signal(signal.SIGTERM)
        demo.communicate(timeout=60)
    assert demo.returncode == 128 + signal.SIGTERM
    assert not [process for process in stack if _lives(process)]
    assert not list(tmp_path.glob("imagequeue-demo-*"))


def _lives(process: psutil.Process) -> bool:
    """A zombie has ended; whether somebody collects orphans is up to the machine's first process."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def _descendants_once_there(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    deadline = DemoDeadline.after(20)
    while True:
        deadline.left("the stack's processes")
        found = parent.children(recursive=True)
        if len(found) > 1:
            return found
