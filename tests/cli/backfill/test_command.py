"""The commands about a batch, by its id and by the directory of its images."""

from __future__ import annotations

import json

from tests.cli.backfill.conftest import BackfillShell


def test_a_batch_is_named_by_its_id_or_by_its_directory(shell: BackfillShell) -> None:
    shell.run(shell.write("a fox\n"))
    shown = shell.do("status", "batch_1").stdout
    assert shown.splitlines()[:2] == [
        "batch_1  completed",
        "  lines: 1 done, 0 failed, 0 running, 0 waiting",
    ]
    assert "60/min (58.5/min over 15 min), the quota allows 66/min" in shown
    assert "ETA: 1 h 6 min" in shown
    assert shell.do("status", str(shell.out)).stdout == shown
    assert json.loads(shell.do("status", str(shell.out), "--json").stdout)["id"] == "batch_1"


def test_a_directory_without_a_batch_is_told(shell: BackfillShell) -> None:
    assert "no batch was created there" in shell.do("pause", str(shell.home), status=2).output
    (shell.home / ".imagequeue.json").write_text("{")
    assert "is not this program's" in shell.do("pause", str(shell.home), status=2).output
    (shell.home / ".imagequeue.json").write_text('{"version": 99}')
    assert "another version" in shell.do("pause", str(shell.home), status=2).output


def test_a_batch_is_paused_resumed_retried_and_cancelled(shell: BackfillShell) -> None:
    shell.run(shell.write("a fox\n"))
    assert "paused (operator)" in shell.do("pause", "batch_1").stdout
    assert "why not faster: it was paused by hand" in shell.do("status", "batch_1").stdout
    assert "in progress" in shell.do("resume", "batch_1").stdout
    shell.do("retry", "batch_1")
    shell.do("retry", "batch_1", "--code", "refused", "--code", "not_served")
    assert "cancelled" in shell.do("cancel", "batch_1").stdout
    assert shell.service.changes == [
        {"pause": {}},
        {"resume": {}},
        {"retry": {}},
        {"retry": {"codes": ["refused", "not_served"]}},
        {"cancel": {}},
    ]


def test_batches_are_listed(shell: BackfillShell) -> None:
    shell.run(shell.write("a fox\n"))
    assert "batch_1" in shell.do("list", "--state", "completed").stdout
    assert [one["id"] for one in json.loads(shell.do("list", "--json").stdout)] == ["batch_1"]


def test_errors_are_shown_by_code(shell: BackfillShell) -> None:
    shell.service.refused = {"a fox"}
    shell.run(shell.write("a fox\n"), status=3)
    assert "refused" in shell.do("errors", str(shell.out)).stdout
    assert json.loads(shell.do("errors", "batch_1", "--json").stdout)[0]["count"] == 1
