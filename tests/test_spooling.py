"""Spools: bytes that came are not lost, whatever the directory of temporary files takes."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imagequeue.spooling import Spool, temporary_free_bytes

CHUNK = bytes(range(256)) * 64
LIMIT_BYTES = 100_000
"""No multiple of a chunk, so that one write is taken in part."""


@contextmanager
def _no_larger_file() -> Generator[None]:
    """Let no file of this process grow above the limit: a write fails as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(params=["full while it is written", "full at once", "gone"])
def broken(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """A directory of temporary files that does not work; how many bytes a spool may hold in memory."""
    if request.param == "gone":
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
        return len(CHUNK)
    return len(CHUNK) if request.param == "full while it is written" else LIMIT_BYTES


def _filled(in_memory_bytes: int, chunks: int) -> Spool:
    spool = Spool(in_memory_bytes)
    for _ in range(chunks):
        assert spool.write(CHUNK) == len(CHUNK)
    return spool


@pytest.mark.parametrize("chunks", [1, 2, 20])
def test_what_the_disk_does_not_take_stays_in_memory(broken: int, chunks: int) -> None:
    with _no_larger_file(), _filled(broken, chunks) as spool:
        spool.seek(0)
        assert spool.read() == CHUNK * chunks
        assert spool.on_disk is (
            chunks == 2 and broken == len(CHUNK) and Path(tempfile.gettempdir()).exists()
        )


def test_a_large_body_is_on_disk_and_a_small_one_in_memory() -> None:
    for chunks, on_disk in ((1, False), (3, True)):
        with _filled(2 * len(CHUNK), chunks) as spool:
            assert (spool.on_disk, spool.tell()) == (on_disk, chunks * len(CHUNK))
            spool.seek(0)
            assert spool.read(5) + spool.read() == CHUNK * chunks


def test_a_directory_that_takes_a_file_tells_its_free_space() -> None:
    assert temporary_free_bytes() > 0


def _gone(path: Path) -> None:
    del path


def _a_file(path: Path) -> None:
    path.write_text("no directory")


@pytest.mark.parametrize("make", [_gone, _a_file])
def test_a_directory_that_takes_no_file_is_an_error(
    make: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "tmp")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    with pytest.raises(OSError, match=r"tmp"):
        temporary_free_bytes()
