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


def test_a_full_or_broken_disk_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(StorageUnavailable):
        Spill(tmp_path / "file").put("v1/a", b"x", "image/png")
