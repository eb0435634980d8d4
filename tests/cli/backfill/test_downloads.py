"""Images of a batch: checked, never overwritten by another one, and tried again when they did not come."""

from __future__ import annotations

from tests.cli.backfill.conftest import BackfillShell


def test_an_image_that_comes_spoiled_is_not_kept_and_comes_with_the_next_run(shell: BackfillShell) -> None:
    shell.service.spoiled = {"2-1.png"}
    source = shell.write("a fox\na hen\n")
    assert "1 images could not be downloaded" in shell.run(source, status=3).output
    assert list(shell.images()) == ["line-0000001-1.png"]
    assert [row["error"] for row in shell.manifest()] == ["", "not_downloaded"]
    shell.service.spoiled = set()
    shell.run(source)
    assert sorted(shell.images()) == ["line-0000001-1.png", "line-0000002-1.png"]
    assert [row["error"] for row in shell.manifest()] == ["", ""]
    assert shell.service.downloads["1-1.png"] == 1


def test_a_file_of_the_user_is_left_as_it_is(shell: BackfillShell) -> None:
    shell.out.mkdir()
    (shell.out / "line-0000001-1.png").write_bytes(b"mine")
    shell.run(shell.write("a fox\n"))
    assert shell.images() == {"line-0000001-1.png": b"mine", "line-0000001~1-1.png": b"1-1.png"}
    assert shell.manifest()[0]["file"] == "line-0000001~1-1.png"


def test_a_manifest_that_was_removed_or_cut_is_written_again_without_downloads(shell: BackfillShell) -> None:
    source = shell.write("a fox\na hen\n")
    shell.run(source)
    whole = shell.manifest()
    manifest = shell.out / "manifest.csv"
    for content in (None, b"", b"line\n"):
        manifest.unlink() if content is None else manifest.write_bytes(content)
        shell.run(source)
        assert shell.manifest() == whole
    assert set(shell.service.downloads.values()) == {1}


def test_what_is_torn_behind_the_last_remembered_row_is_cut_off(shell: BackfillShell) -> None:
    source = shell.write("a fox\na hen\n")
    shell.run(source)
    whole = shell.manifest()
    with (shell.out / "manifest.csv").open("ab") as file:
        file.write(b"3,line-00")
    (shell.out / ".imagequeue.part-1").write_bytes(b"half")
    shell.run(source)
    assert shell.manifest() == whole
    assert not (shell.out / ".imagequeue.part-1").exists()
    assert set(shell.service.downloads.values()) == {1}
