"""`imagequeue backfill run`: what is sent, what is downloaded, and how it ends."""

from __future__ import annotations

import fcntl
import json
from typing import Any

import pytest

from cli.backfill import source as source_module
from tests.cli.backfill.conftest import BackfillShell

LINE = {"method": "POST", "url": "/v1/images/generations", "body": {"model": "m", "prompt": "a fox"}}


def jsonl(*custom_ids: str) -> str:
    """A file of lines with these names."""
    return "".join(json.dumps({"custom_id": one, **LINE}) + "\n" for one in custom_ids)


def sent(shell: BackfillShell) -> dict[int, Any]:
    """The requests that the server got, by the number of their line."""
    lines = enumerate(shell.service.files[-1].split(b"\n"), 1)
    return {number: json.loads(line) for number, line in lines if line.strip()}


def test_a_text_becomes_a_folder_of_images_with_a_manifest(shell: BackfillShell) -> None:
    shell.service.refused = {"a bad one"}
    source = shell.write("a fox\n\na bad one\na hen\n")
    shell.run(source, "--ratio", "16:9", "--format", "webp", "-n", "2", "--budget", "5", status=3)
    assert sent(shell)[4] == {
        "custom_id": "line-0000004",
        "method": "POST",
        "url": "/v1/images/generations",
        "body": {
            "model": "microsoft-mai-image-2-5",
            "prompt": "a hen",
            "aspect_ratio": "16:9",
            "output_format": "webp",
            "n": 2,
        },
    }
    assert shell.service.created == [{"input_file_id": "file-1", "budget_usd": "5"}]
    assert shell.images() == {"line-0000001-1.png": b"1-1.png", "line-0000004-1.png": b"4-1.png"}
    rows = [(row["line"], row["status"], row["file"], row["error"]) for row in shell.manifest()]
    assert rows == [
        ("1", "completed", "line-0000001-1.png", ""),
        ("3", "failed", "", "refused"),
        ("4", "completed", "line-0000004-1.png", ""),
    ]
    assert not any("api-key" in one for one in shell.service.headers)


def test_a_csv_says_what_each_line_wants(shell: BackfillShell) -> None:
    text = (
        "\ufeffid,Prompt,model,ratio,count,image_url,note\r\n"
        'a,"one, with\r\na comma",,1024x1024,3,,x\r\n'
        "b,two,other,,,https://example.com/a.png,\r\n"
    )
    result = shell.run(shell.write(text, "prompts.csv"), "--model", "own")
    assert "not used: note" in result.output
    requests = sent(shell)
    assert sorted(requests) == [2, 4]
    assert requests[2]["body"] == {
        "model": "own",
        "prompt": "one, with\r\na comma",
        "size": "1024x1024",
        "n": 3,
    }
    assert (requests[4]["url"], requests[4]["body"]) == (
        "/v1/images/edits",
        {
            "model": "other",
            "prompt": "two",
            "size": "auto",
            "images": [{"image_url": "https://example.com/a.png"}],
        },
    )


def test_a_csv_may_have_semicolons(shell: BackfillShell) -> None:
    shell.run(shell.write("custom_id;prompt\na;one, two\n", "prompts.csv"))
    assert sent(shell)[2]["body"]["prompt"] == "one, two"


def test_jsonl_is_sent_as_it_is(shell: BackfillShell) -> None:
    text = "\ufeff" + jsonl("a", "b").replace("\n", "\r\n")
    shell.service.images = 2
    source = shell.write(text, "lines.jsonl")
    shell.run(source)
    assert shell.service.files == [source.read_bytes()]
    assert sorted(shell.images()) == ["a-1.png", "a-2.png", "b-1.png", "b-2.png"]


@pytest.mark.parametrize(
    ("name", "content", "words", "told"),
    [
        ("a.csv", b"id,text\n1,a fox\n", (), "no column 'prompt': its columns are id, text"),
        ("a.csv", b"", (), "no column 'prompt'"),
        ("a.csv", b"prompt\na fox, red\n", (), "line 2: more cells than columns"),
        ("a.csv", b"id,prompt\n1,\n", (), "line 2: no prompt"),
        ("a.csv", b"prompt,n\na,b\n", (), "line 2: count 'b' is not a number"),
        ("a.csv", b'prompt\n"a" b\n', (), "line 2:"),
        ("a.csv", b"prompt,prompt\na,b\n", (), "two columns for prompt"),
        ("a.txt", b"a\n\xff\n", (), "is not UTF-8: line 2"),
        ("a.txt", b"\n\n", (), "a.txt has no line"),
        ("a.json", b"[]", (), "named .jsonl"),
        ("a.jsonl", b"", (), "a.jsonl has no line"),
        ("a.jsonl", b"{}\n", ("--model", "m"), "says model itself"),
        ("a.txt", b"a\n", ("--name-template", "../{custom_id}{n}"), "--name-template"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_sent(
    shell: BackfillShell, name: str, content: bytes, words: tuple[str, ...], told: str
) -> None:
    result = shell.run(shell.write(content, name), *words, status=2)
    assert told in result.output
    assert (shell.service.files, shell.service.keys) == ([], [])
    shell.run(shell.write("a fox\n", "good.txt"))


def test_a_missing_file_is_a_usage_error(shell: BackfillShell) -> None:
    assert "No such file" in shell.run(shell.home / "nothing.txt", status=2).output


def test_a_file_that_the_server_refuses_is_told_by_line_and_may_be_corrected(shell: BackfillShell) -> None:
    shell.service.file_errors = [
        {"code": "x", "line": 7, "message": "prompt: too long", "param": "body.prompt"}
    ]
    result = shell.run(shell.write("a fox\n"), status=2)
    assert "line 7: prompt: too long" in result.output
    assert "nothing was charged" in result.output
    shell.service.file_errors = []
    shell.run(shell.write("a hen\n"))
    assert len(shell.service.keys) == 2


@pytest.mark.parametrize(
    ("batch_status", "reasons", "code", "told"),
    [
        ("paused", ["operator"], 4, "paused: by hand; `imagequeue backfill resume"),
        ("cancelled", [], 5, "cancelled"),
        ("completed", [], 0, "1 of 1 lines have their images"),
    ],
)
def test_the_exit_code_says_how_it_ended(
    shell: BackfillShell, batch_status: str, reasons: list[str], code: int, told: str
) -> None:
    shell.service.status, shell.service.reasons = batch_status, reasons
    source = shell.write("a fox\n")
    assert told in shell.run(source, status=code).output
    assert told in shell.run(source, status=code).output
    assert (len(shell.images()), len(shell.service.keys)) == (1, 1)


def test_a_server_that_is_away_for_a_while_is_waited_for(shell: BackfillShell) -> None:
    shell.service.outages = 1
    shell.run(shell.write("a fox\n"))
    assert len(shell.images()) == 1


def test_a_higher_budget_changes_the_batch_that_runs(shell: BackfillShell) -> None:
    shell.service.status, shell.service.reasons = "paused", ["failure_rate", "budget"]
    source = shell.write("a fox\n")
    assert "with a higher --budget" in shell.run(source, "--budget", "1", status=4).output
    shell.service.status, shell.service.reasons = "completed", []
    shell.run(source, "--budget", "2")
    shell.run(source, "--budget", "2")
    assert shell.service.changes == [{"budget_usd": "2"}]


@pytest.mark.parametrize("words", [("--model", "other"), ("--name-template", "{line}-{n}.{ext}")])
def test_a_directory_keeps_the_options_that_it_was_begun_with(
    shell: BackfillShell, words: tuple[str, str]
) -> None:
    source = shell.write("a fox\n")
    shell.run(source)
    assert "was begun with" in shell.run(source, *words, status=2).output
    assert "another file" in shell.run(shell.write("a hen\n", "other.txt"), status=2).output


def test_one_process_works_in_a_directory_and_the_other_says_which(shell: BackfillShell) -> None:
    shell.out.mkdir()
    with (shell.out / ".imagequeue.lock").open("w") as lock:
        lock.write("4711")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "process 4711 works there" in shell.run(shell.write("a fox\n"), status=2).output
    shell.run(shell.write("a fox\n"))


def test_names_that_differ_only_in_case_get_the_number_of_the_line(shell: BackfillShell) -> None:
    shell.run(shell.write(jsonl("Cat", "dog", "cat", "../x"), "lines.jsonl"))
    assert sorted(shell.images()) == ["%2E.%2Fx-1.png", "Cat~1-1.png", "cat~3-1.png", "dog-1.png"]


def test_where_many_names_differ_only_in_case_all_get_the_number_of_the_line(
    shell: BackfillShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "MOST_LISTED_CLASHES", 1)
    shell.run(shell.write(jsonl("Cat", "dog", "cat"), "lines.jsonl"))
    assert sorted(shell.images()) == ["Cat~1-1.png", "cat~3-1.png", "dog~2-1.png"]


def test_a_template_may_have_folders(shell: BackfillShell) -> None:
    shell.run(shell.write("a fox\n"), "--name-template", "all/{line}/{custom_id}_{n}.{ext}")
    assert list(shell.images()) == ["all/1/line-0000001_1.png"]
