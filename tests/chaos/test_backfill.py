"""What the checker finds wrong with a backfill: each way in which a line, a file or a charge goes astray."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from chaos.backfill_lines import BackfillRecord
from chaos.evidence import Evidence
from chaos.invariants import backfill
from chaos.invariants.jobs import one_key_is_one_job
from tests.chaos.backfill_runs import manifest_row, output
from tests.chaos.runs import NOW, call_for_line, faultless, reread


def first(record: BackfillRecord, **changed: Any) -> None:
    """Change the first end."""
    record.rounds[0] = replace(record.rounds[0], **changed)


def counts(record: BackfillRecord, **changed: int) -> None:
    record.rounds[1].batch["counts"].update(changed)


WRONG: dict[str, tuple[str, Callable[[Evidence], object]]] = {
    "the batch ended once": ("every_line_is_counted_at_the_end", lambda run: run.backfill.rounds.pop()),
    "there are two batches": (
        "every_line_is_counted_at_the_end",
        lambda run: run.tables["batches"].append({"id": uuid4()}),
    ),
    "a line is counted twice": (
        "every_line_is_counted_at_the_end",
        lambda run: counts(run.backfill, completed=3, total=3),
    ),
    "a line failed for good": (
        "every_line_is_counted_at_the_end",
        lambda run: counts(run.backfill, completed=1, failed=1),
    ),
    "the command ended otherwise": (
        "every_line_is_counted_at_the_end",
        lambda run: run.backfill.wrong.append("`backfill run` ended with 2"),
    ),
    "a line is in no file": ("every_line_is_in_one_file", lambda run: first(run.backfill, errors=[])),
    "a line is in both files": (
        "every_line_is_in_one_file",
        lambda run: first(run.backfill, output=[output("line 0"), output("line 1")]),
    ),
    "a line is twice in one file": (
        "every_line_is_in_one_file",
        lambda run: first(run.backfill, output=[output("line 0"), output("line 0")]),
    ),
    "an answer has no image": (
        "every_line_is_in_one_file",
        lambda run: first(run.backfill, output=[output("line 0") | {"response": None}]),
    ),
    "a line that was served is called again": (
        "a_retry_calls_for_failed_lines_alone",
        lambda run: run.calls.append(call_for_line(0, NOW + 9)),
    ),
    "a line that failed is not called again": (
        "a_retry_calls_for_failed_lines_alone",
        lambda run: run.calls.pop(),
    ),
    "nothing was retried": (
        "a_retry_calls_for_failed_lines_alone",
        lambda run: setattr(run.backfill, "retried_at", None),
    ),
    "an image is charged that is not delivered": (
        "a_backfill_is_charged_for_its_images_alone",
        lambda run: run.backfill.manifest[0].update(file=""),
    ),
    "a line is charged twice": (
        "a_backfill_is_charged_for_its_images_alone",
        lambda run: run.tables["ledger"].append(run.tables["ledger"][7]),
    ),
    "the batch tells another sum": (
        "a_backfill_is_charged_for_its_images_alone",
        lambda run: run.backfill.rounds[1].batch.update(spent_usd="0.021"),
    ),
    "a file is missing": (
        "the_folder_is_its_manifest",
        lambda run: run.backfill.folder.pop("line 0-1.png"),
    ),
    "a file is not whole": (
        "the_folder_is_its_manifest",
        lambda run: run.backfill.folder.update({"line 0-1.png": "00"}),
    ),
    "a partial file is left": (
        "the_folder_is_its_manifest",
        lambda run: run.backfill.folder.update({".imagequeue.part-1": "00"}),
    ),
    "a line has two rows": (
        "the_folder_is_its_manifest",
        lambda run: run.backfill.manifest.append(manifest_row("line 0")),
    ),
    "an image is another job's": (
        "the_folder_is_its_manifest",
        lambda run: setattr(run, "objects", {}),
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_backfill_that_went_wrong_is_found(what: str) -> None:
    name, happened = WRONG[what]
    run = faultless()
    happened(run)
    assert getattr(backfill, name)(reread(run)).violations


def test_a_line_may_have_a_job_for_each_of_its_retries_and_no_more() -> None:
    run = faultless()
    assert not one_key_is_one_job(run).violations
    run.tables["lines"][1]["retries"] = 0
    assert one_key_is_one_job(reread(run)).violations


def test_a_backfill_that_left_nothing_is_told_and_stops_no_check() -> None:
    run = replace(faultless(), backfill=BackfillRecord({"line 0": "a fox"}, wrong=["RunOver: /v2/batches"]))
    findings = [
        check(run)
        for check in (
            backfill.every_line_is_counted_at_the_end,
            backfill.every_line_is_in_one_file,
            backfill.a_retry_calls_for_failed_lines_alone,
            backfill.a_backfill_is_charged_for_its_images_alone,
            backfill.the_folder_is_its_manifest,
        )
    ]
    assert all(finding.violations for finding in findings)
