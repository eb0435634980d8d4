"""Images that the command line downloads: whole files with fixed names, and none is overwritten."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from cli import downloads as module
from cli.downloads import downloads
from cli.remote import RemoteAway, RemoteRefusal
from imagequeue.domain.errors import ConfigurationError
from imagequeue.media_urls import media_urls
from tests.cli.shell import Shell
from tests.cli.test_watch import settle
from tests.media.pictures import picture
from tests.servers import ServerThread

PICTURE = picture()


class Images:
    """A server of images; `headers` are those of the requests that it got."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []
        self.url = ""

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/1.png", self.image),
                Route("/moved", self.moved),
                Route("/broken", self.broken),
                Route("/gone", self.gone),
                Route("/page", self.page),
            ]
        )

    async def image(self, request: Request) -> Response:
        self.headers.append(dict(request.headers))
        return Response(PICTURE, media_type="image/png")

    async def moved(self, request: Request) -> Response:
        return RedirectResponse(str(request.url.replace(path="/1.png")), 302)

    async def gone(self, request: Request) -> Response:
        del request
        return Response(status_code=410)

    async def page(self, request: Request) -> Response:
        del request
        return Response(b"<html>", media_type="text/html")

    async def broken(self, request: Request) -> Response:
        del request
        half = iter([PICTURE[: len(PICTURE) // 2]])
        return StreamingResponse(half, headers={"content-length": str(len(PICTURE))}, media_type="image/png")

    def body(self, *paths: str, request_id: str = "model_1") -> dict[str, Any]:
        urls = [self.url + path for path in paths]
        return {"request_id": request_id, "output": {"media_url": urls, "media_type": "image/png"}}


@pytest.fixture
def images() -> Iterator[Images]:
    images = Images()
    with ServerThread(images.app()) as server:
        images.url = server.url
        yield images


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def test_files_are_named_after_the_request_and_the_number_of_the_image(
    images: Images, tmp_path: Path
) -> None:
    directory = tmp_path / "a" / "b"
    with downloads(directory) as found:
        saved = found.save(images.body("/1.png", "/moved", "/page"))
    assert [path.name for path in saved] == ["model_1-1.png", "model_1-2.png", "model_1-3.image"]
    assert files(directory) == dict(
        zip([path.name for path in saved], [PICTURE, PICTURE, b"<html>"], strict=True)
    )
    assert not any("api-key" in one or "authorization" in one for one in images.headers)


def test_a_file_that_is_there_is_left_as_it_is(images: Images, tmp_path: Path) -> None:
    (tmp_path / "model_1-1.png").write_bytes(b"mine")
    with downloads(tmp_path) as found:
        assert found.save(images.body("/1.png")) == [tmp_path / "model_1-1.png"]
    assert (files(tmp_path), images.headers) == ({"model_1-1.png": b"mine"}, [])


@pytest.mark.parametrize(
    ("path", "kind"), [("/broken", RemoteAway), ("/gone", RemoteRefusal), ("/nowhere", RemoteRefusal)]
)
def test_a_download_that_fails_leaves_no_file(
    images: Images, tmp_path: Path, path: str, kind: type[Exception]
) -> None:
    with downloads(tmp_path) as found, pytest.raises(kind, match="model_1-2 could not be downloaded"):
        found.save(images.body("/1.png", path))
    assert list(files(tmp_path)) == ["model_1-1.png"]


def test_an_image_beyond_every_size_is_refused(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", len(PICTURE) - 1)
    with downloads(tmp_path) as found, pytest.raises(RemoteRefusal, match="more than"):
        found.save(images.body("/1.png"))
    assert files(tmp_path) == {}


def test_an_id_is_never_a_path(images: Images, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    with downloads(inside) as found:
        (path,) = found.save(images.body("/1.png", request_id="../../etc/x"))
    assert path.parent == inside


def test_a_server_that_is_gone_is_told(tmp_path: Path) -> None:
    body = {"request_id": "model_1", "output": {"media_url": ["http://127.0.0.1:1/1.png"]}}
    with downloads(tmp_path) as found, pytest.raises(RemoteAway, match="model_1-1"):
        found.save(body)


def test_a_directory_that_takes_no_files_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigurationError, match="--out"), downloads(tmp_path / "file" / "images"):
        pass


def _completed(shell: Shell, engine: Engine, count: int, **more: Any) -> str:
    """A job that was submitted under the key `k`, with images that the server has."""
    words = ("submit", "a red fox", "-n", str(count), "--idempotency-key", "k")
    request_id = shell.run(*words).stdout.strip()
    runtime = shell.client.service.runtime
    keys = [f"v1/job/attempt/{number}.png" for number in range(count)]
    for key in keys:
        runtime.storage.put(key, PICTURE, "image/png")
    origin, own = shell.client.service.url, media_urls(runtime.settings, runtime.keyring)
    urls = [own(key).replace(runtime.settings.public_origin, origin) for key in keys]
    settle(engine, request_id, "COMPLETED", output={"media_url": urls, "media_type": "image/png"}, **more)
    return request_id


def test_submit_waits_and_downloads(shell: Shell, engine: Engine, tmp_path: Path) -> None:
    request_id, directory = _completed(shell, engine, 2), tmp_path / "out"
    words = ("submit", "a red fox", "-n", "2", "--idempotency-key", "k", "--out", str(directory))
    lines = shell.run(*words).stdout.splitlines()
    names = [f"{request_id}-{number}.png" for number in (1, 2)]
    assert lines == [f"{request_id}  COMPLETED", *[f"  {directory / name}" for name in names]]
    assert files(directory) == dict.fromkeys(names, PICTURE)
    assert shell.run(*words).stdout.splitlines() == lines


def test_watch_downloads_what_was_submitted_before(shell: Shell, engine: Engine, tmp_path: Path) -> None:
    request_id = _completed(shell, engine, 1)
    told = shell.run("watch", request_id, "--out", str(tmp_path / "out"), "--json").stdout
    assert f'"files": ["{tmp_path}/out/{request_id}-1.png"]' in told


def test_a_job_without_images_leaves_no_file(shell: Shell, engine: Engine, tmp_path: Path) -> None:
    request_id = shell.run("submit", "a red fox").stdout.strip()
    settle(engine, request_id, "FAILED", error="refused by policy")
    shell.run("watch", request_id, "--out", str(tmp_path / "out"), status=1)
    assert files(tmp_path / "out") == {}


def test_nothing_is_submitted_where_nothing_can_be_written(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    shell.run("submit", "a red fox", "--out", str(tmp_path / "file"), status=1)
    assert shell.client.service.rows()["jobs"] == 0
