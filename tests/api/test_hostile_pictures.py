"""Pictures that cost their reader more than their sender: the API process stays small, and serves others.

How much memory it takes is printed, and that of its children beside it, which have limits of their own.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine

from chaos.hostile.pictures import EXPENSIVE
from tests.api.process import CATALOG, api_process
from tests.builders import MODEL, account
from tests.eventually import eventually
from tests.media.pictures import picture

pytestmark = pytest.mark.long

CLIENTS = 50
MIB = 1024 * 1024
MOST_BYTES = 400 * MIB
SECONDS = 600
PATH = f"/{MODEL}-edit/v1/{MODEL}-edit-request"
Send = Callable[[httpx.Client], httpx.Response]


def _posted(content: bytes, media_type: str) -> Send:
    url = f"data:{media_type};base64,{base64.b64encode(content).decode()}"
    body = json.dumps({"prompt": "make it blue", "image_urls": [url]}).encode()
    return lambda client: client.post(PATH, content=body, headers={"Content-Type": "application/json"})


def _masked(image: bytes, mask: bytes) -> Send:
    files = {"image": ("image.png", image, "image/png"), "mask": ("mask.png", mask, "image/png")}
    form = {"model": MODEL, "prompt": "make it blue"}
    return lambda client: client.post("/v1/images/edits", data=form, files=files)


def _hostile() -> list[Send]:
    """One of each kind; the WebP as a mask, too."""
    made = {what: make() for what, make in EXPENSIVE.items()}
    webp = next(content for what, content in made.items() if "WebP" in what)
    return [*(_posted(content, "image/any") for content in made.values()), _masked(picture(), webp)]


def memory(pid: int | str, field: str) -> int:
    """Bytes of a process; 0: it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":")), 0)


@contextmanager
def watched_children(pid: int) -> Generator[list[int]]:
    """The peaks of a process's children in bytes, looked at again and again."""
    done, peaks = threading.Event(), [0]

    def watch() -> None:
        while not done.wait(0.02):
            for task in Path(f"/proc/{pid}/task").iterdir():
                try:
                    children = (task / "children").read_text("ascii").split()
                except OSError:  # the thread is gone
                    continue
                peaks.extend(memory(child, "VmHWM") for child in children)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peaks
    finally:
        done.set()
        watcher.join()


def test_an_api_process_stays_small_under_hostile_pictures_and_serves_another_account(
    engine: Engine, database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edits = tmp_path / "edits.toml"
    edits.write_text(CATALOG.replace("price_usd", 'operations = ["generate", "edit"]\nprice_usd'), "utf-8")
    keys = [account(engine, name, "1000")[1].key for name in ("hostile", "other")]
    statuses: list[int] = []
    with (
        api_process(database_url, tmp_path, IMAGEQUEUE_CATALOG=str(edits)) as api,
        watched_children(api.process.pid) as children,
    ):
        clients = [
            httpx.Client(base_url=api.url, headers={"Ocp-Apim-Subscription-Key": key}, timeout=SECONDS)
            for key in [keys[0]] * CLIENTS + [keys[1]]
        ]
        other = clients.pop()
        eventually(lambda: _is_up(other), SECONDS)
        hostile = _hostile()

        def attack(number: int) -> None:
            statuses.append(hostile[number % len(hostile)](clients[number]).status_code)

        threads = [threading.Thread(target=attack, args=[number]) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        small = _posted(picture(size=(64, 64)), "image/png")
        try:
            eventually(lambda: small(other).status_code == 202, SECONDS)
            still_sending = sum(thread.is_alive() for thread in threads)
        finally:
            for thread in threads:
                thread.join()
        peak = memory(api.process.pid, "VmHWM")
        for client in [*clients, other]:
            client.close()
    with capsys.disabled():
        seen = {status: statuses.count(status) for status in sorted(set(statuses))}
        sizes = f"peak {peak // MIB} MiB, its largest child {max(children) // MIB} MiB"
        print(f"\nAPI process: {sizes}; answers: {seen}; {still_sending} sending when the other is served")  # noqa: T201  # what the test is run for
    assert len(statuses) == CLIENTS
    assert set(statuses) <= {202, 400, 503}
    assert peak < MOST_BYTES


def _is_up(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").status_code in {200, 503}
    except httpx.TransportError:
        return False
