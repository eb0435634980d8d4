"""Downloads the images of final jobs into a directory.

A file is named after its request and the number of the image, so it is always the same image. It appears
whole or not at all, and one that is there already is left as it is.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

import httpx

from cli.remote import RemoteAway, RemoteRefusal
from imagequeue.domain.errors import ConfigurationError

MOST_BYTES = 256 * 1024 * 1024
"""Of one image: no upstream makes one that is a tenth as large."""

_TIMEOUT_SECONDS = 60.0
"""For each step of a download: a bucket may be far away."""

_SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpeg", "image/webp": ".webp"}
_UNSAFE = re.compile(r"[^\w.-]", re.ASCII)


class Downloads:
    """A directory for images, and a client that sends no API key: a URL may lead to another host."""

    def __init__(self, directory: Path, http: httpx.Client) -> None:
        self._directory = directory
        self._http = http

    def save(self, body: Mapping[str, Any]) -> list[Path]:
        """Download what a status body names; the files, also those that were there before.

        Raises:
            RemoteAway: a download breaks off, or the server does not answer.
            RemoteRefusal: the server refuses, or sends more than `MOST_BYTES`.
            ConfigurationError: the directory takes no files.
        """
        output = cast("Mapping[str, Any]", body["output"] or {})
        urls = cast("list[str]", output.get("media_url", []))
        stem = _UNSAFE.sub("_", str(body["request_id"]))
        return [self._saved(url, f"{stem}-{number}") for number, url in enumerate(urls, 1)]

    def _saved(self, url: str, stem: str) -> Path:
        """The file of one image; its suffix is known when the answer is there."""
        present = [self._directory / f"{stem}{suffix}" for suffix in (*_SUFFIXES.values(), ".image")]
        if found := next((path for path in present if path.exists()), None):
            return found
        try:
            with self._http.stream("GET", url) as answer:
                return self._written(answer, stem)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise RemoteAway(f"{stem} could not be downloaded: {error}") from None

    def _written(self, answer: httpx.Response, stem: str) -> Path:
        if not answer.is_success:
            raise RemoteRefusal(f"{stem} could not be downloaded: {answer.status_code}")
        kind = answer.headers.get("content-type", "").partition(";")[0].strip()
        path = self._directory / f"{stem}{_SUFFIXES.get(kind, '.image')}"
        with _reported(self._directory), tempfile.NamedTemporaryFile(dir=self._directory, prefix=".") as file:
            _copy(answer, file, stem)
            Path(file.name).chmod(0o644)
            with suppress(FileExistsError):  # another process has downloaded the same image meanwhile
                os.link(file.name, path)
        return path


@contextmanager
def downloads(directory: Path) -> Generator[Downloads]:
    """Downloads into a directory, which is made if it is not there.

    Raises:
        ConfigurationError: it cannot be made, or takes no files.
    """
    with _reported(directory):
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass  # before anything is submitted: images that cannot be kept need not be made
    with httpx.Client(follow_redirects=True, timeout=_TIMEOUT_SECONDS) as http:
        yield Downloads(directory, http)


def _copy(answer: httpx.Response, file: IO[bytes], stem: str) -> None:
    size = 0
    for piece in answer.iter_bytes():
        size += len(piece)
        if size > MOST_BYTES:
            raise RemoteRefusal(f"{stem} could not be downloaded: it has more than {MOST_BYTES} bytes")
        file.write(piece)
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def _reported(directory: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"--out {directory}: {error.strerror or error}") from None
