"""Bytes that wait for their storage."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagequeue.media.spill import Spill
from imagequeue.media.storage import StorageUnavailable


def test_what_is_spilled_waits_with_its_note_also_for_another_process(tmp_path: Path) -> None:
    content = b'{"looks": "like a head"}\nand more\n' * 100
    Spill(tmp_path / "spill").put("v1/a/b/output.png", content, "image/png", {"width": 3, "cost": "0.01"})
    (found,) = Spill(tmp_path / "spill").pending()
    assert (found.key, found.media_type) == ("v1/a/b/output.png", "image/png")
    assert found.note == {"width": 3, "cost": "0.01"}
    assert found.content() == content


def test_oldest_first_and_removed_is_gone(tmp_path: Path) -> None:
    spill = Spill(tmp_path)
    for number in range(3):
        spill.put(f"v1/{number}", b"x", "image/png")
    assert [waiting.key for waiting in spill.pending()] == ["v1/0", "v1/1", "v1/2"]
    spill.remove("v1/1")
    spill.remove("v1/1")
    assert [waiting.key for waiting in spill.pending()] == ["v1/0", "v1/2"]


def test_a_part_that_a_dead_process_left_is_no_object(tmp_path: Path) -> None:
    (tmp_path / ".part-abc").write_bytes(b"half")
    assert list(Spill(tmp_path).pending()) == []


def test_an_empty_spill_has_nothing(tmp_path: Path) -> None:
    assert list(Spill(tmp_path / "never made").pending()) == []
    assert Spill(tmp_path / "never made").free_bytes() > 0


def test_one_that_is_removed_while_it_is_listed_is_skipped(tmp_path: Path) -> None:
    spill = Spill(tmp_path)
    spill.put("v1/a", b"x", "image/png")
    spill.put("v1/b", b"x", "image/png")
    listing = spill.pending()
    assert next(listing).key == "v1/a"
    spill.remove("v1/b")
    assert list(listing) == []


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"no JSON\n",
        b"\xff\xfe\n",
        b"[]\n",
        b'{"key": "v1/a"}\n',
        b'{"key": "../a", "media_type": "image/png", "note": {}}\n',
    ],
)
def test_junk_is_set_aside_and_stops_nothing(tmp_path: Path, junk: bytes) -> None:
    spill = Spill(tmp_path)
    spill.put("v1/junk", b"x", "image/png")
    (file,) = tmp_path.iterdir()
    file.write_bytes(junk)
    spill.put("v1/a", b"x", "image/png")
    assert [waiting.key for waiting in spill.pending()] == ["v1/a"]
    assert spill.find("v1/junk") is None
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".aside", ".spill"]
    assert file.with_suffix(".aside").read_bytes() == junk


def test_junk_that_is_looked_for_is_set_aside_too(tmp_path: Path) -> None:
    spill = Spill(tmp_path)
    spill.put("v1/junk", b"x", "image/png")
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"junk")
    assert spill.find("v1/junk") is None
    assert [path.suffix for path in tmp_path.iterdir()] == [".aside"]


def test_a_file_that_cannot_be_read_now_waits_and_stops_no_other(tmp_path: Path) -> None:
    spill = Spill(tmp_path)
    spill.put("v1/a", b"x", "image/png")
    (tmp_path / "unreadable.spill").mkdir()
    assert [waiting.key for waiting in spill.pending()] == ["v1/a"]
    assert (tmp_path / "unreadable.spill").exists()


def test_a_full_or_broken_disk_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(StorageUnavailable):
        Spill(tmp_path / "file").put("v1/a", b"x", "image/png")
