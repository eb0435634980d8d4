"""Downloads the images of results into a directory, each checked by its sha256 and put there by a rename."""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import httpx

from cli.backfill.directory import PART_PREFIX, sync_directory
from cli.backfill.names import FileNames
from cli.downloads import MOST_BYTES
from cli.remote import RemoteAway

AT_ONCE = 8
"""Downloads at a time: enough for the link of an office, and few for the server."""

_TIMEOUT_SECONDS = 60.0  # for each step of a download: a bucket may be far away
_NOT_NOW = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class WantedImage:
    """An image of a result; `number` counts the images of its line from 1."""

    custom_id: str
    line: int
    number: int
    image: Mapping[str, Any]

    @property
    def digest(self) -> str | None:
        """The sha256 that the server gives, in hexadecimal digits."""
        return self.image["sha256"]


@dataclass(frozen=True, slots=True)
class SavedImage:
    """Where an image is, below the directory; None: it could not be downloaded, and `error` says why."""

    wanted: WantedImage
    file: str | None
    downloaded_bytes: int = 0
    error: str | None = None


class ImageFolder:
    """A directory for images, and a client that sends no API key: a URL may lead to another host."""

    def __init__(self, path: Path, names: FileNames, http: httpx.Client, threads: ThreadPoolExecutor) -> None:
        self._path = path
        self._names = names
        self._http = http
        self._threads = threads

    def save(self, wanted: Sequence[WantedImage]) -> list[SavedImage]:
        """Download what is not here yet, several at a time; the results are in the same order.

        Raises:
            RemoteAway: a server does not answer.
            OSError: the disk is full, or takes no files.
        """
        saved = list(self._threads.map(self._saved, wanted))
        folders = {(self._path / one.file).parent for one in saved if one.file is not None}
        for folder in folders:
            sync_directory(folder)
        return saved

    def _saved(self, wanted: WantedImage) -> SavedImage:
        """An image under its own name; under another, where a file that is not this image has that."""
        given = (wanted.custom_id, wanted.line, wanted.number, wanted.image["media_type"])
        for name in (self._names.name(*given), self._names.other_name(*given)):
            path = self._path / name
            if not path.exists():
                return self._downloaded(wanted, name)
            if _is_whole(path, wanted):
                return SavedImage(wanted, name)
        return SavedImage(wanted, None, error="another file has its name")

    def _downloaded(self, wanted: WantedImage, name: str) -> SavedImage:
        url = wanted.image["url"]
        if not url:
            return SavedImage(wanted, None, error="the server does not keep it any more")
        try:
            with self._http.stream("GET", url) as answer:
                return self._received(answer, wanted, name)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise RemoteAway(f"{name} could not be downloaded: {error or type(error).__name__}") from None

    def _received(self, answer: httpx.Response, wanted: WantedImage, name: str) -> SavedImage:
        if answer.status_code in _NOT_NOW:
            raise RemoteAway(f"{name} could not be downloaded: {answer.status_code}")
        if not answer.is_success:
            return SavedImage(wanted, None, error=f"the download was answered with {answer.status_code}")
        part = self._path / f"{PART_PREFIX}{secrets.token_hex(8)}"
        try:
            size, error = _copy(answer, part, wanted.digest)
            if error is None:
                target = self._path / name
                target.parent.mkdir(parents=True, exist_ok=True)
                part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return SavedImage(wanted, None if error else name, size, error)


@contextmanager
def image_folder(path: Path, names: FileNames) -> Generator[ImageFolder]:
    """Downloads into a directory."""
    limits = httpx.Limits(max_connections=AT_ONCE)
    with (
        httpx.Client(follow_redirects=True, timeout=_TIMEOUT_SECONDS, limits=limits) as http,
        ThreadPoolExecutor(AT_ONCE, "download") as threads,
    ):
        yield ImageFolder(path, names, http, threads)


def _is_whole(path: Path, wanted: WantedImage) -> bool:
    """Whether the file is this image. One whose sha256 the server does not know is taken by its name."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return wanted.digest in {None, _digest(file)}


def _digest(file: IO[bytes]) -> str:
    found = sha256()
    while block := file.read(1024 * 1024):
        found.update(block)
    return found.hexdigest()


def _copy(answer: httpx.Response, part: Path, digest: str | None) -> tuple[int, str | None]:
    """Write what comes; its bytes, and what is wrong with them."""
    size, found = 0, sha256()
    with part.open("xb") as file:
        for piece in answer.iter_bytes():
            size += len(piece)
            if size > MOST_BYTES:
                return size, f"it has more than {MOST_BYTES} bytes"
            found.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    matches = digest is None or digest == found.hexdigest()
    return size, None if matches else "its sha256 is not the one that the server has"
