"""A small run of everything: the stack, its clients, faults, and the backfill with its kills."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from chaos.checker import line
from chaos.invariants import backfill
from chaos.run import Plan, run

pytestmark = pytest.mark.long

LINES = 40


def test_a_backfill_whose_command_is_killed_again_and_again_ends_with_every_image_once(
    tmp_path: Path,
) -> None:
    said = list[str]()
    evidence = run(Plan(1, 6, LINES, tmp_path), said.append)
    findings = [
        check(evidence)
        for check in (
            backfill.every_line_is_counted_at_the_end,
            backfill.every_line_is_in_one_file,
            backfill.a_retry_calls_for_failed_lines_alone,
            backfill.a_backfill_is_charged_for_its_images_alone,
            backfill.the_folder_is_its_manifest,
        )
    ]
    assert [line(finding) for finding in findings if finding.violations] == [], said
    assert len(evidence.backfill.rounds[0].failed) == 2
    assert evidence.backfill.exits[-signal.SIGKILL] >= 1
