"""`python -m tests.crash.mutants [NAME...]`: does each crash test fail when its guard is removed?

Every mutant removes one guard from a copy of the checkout and runs the tests that are there for it. One that
survives is printed, and makes the exit code 1. Run by hand: it takes minutes and tests the tests.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIFECYCLE, STORE = "imagequeue/lifecycle", "imagequeue/store"
CRASH = "tests/crash"


@dataclass(frozen=True, slots=True)
class Mutant:
    """A guard that is removed by replacing texts in files, and the tests that must then fail."""

    name: str
    edits: tuple[tuple[str, str, str], ...]  # file, what stands there, what shall stand there
    tests: tuple[str, ...]


MUTANTS = (
    Mutant(
        "the claim is not one transaction",
        (
            (
                f"{LIFECYCLE}/dispatch/dispatch.py",
                'failpoint("dispatch.claiming")',
                (
                    "connection.exec_driver_sql(\"UPDATE jobs SET status = 'PROCESSING', wanted = 0\");"
                    ' connection.commit(); failpoint("dispatch.claiming")'
                ),
            ),
        ),
        (f"{CRASH}/test_dispatch.py::test_in_the_middle_of_a_claim",),
    ),
    Mutant(
        "a fetch is not leased",
        (
            (
                f"{STORE}/jobs/fetches.py",
                "SET not_before = clock_timestamp() + make_interval(secs => :lease_seconds), deaths",
                "SET not_before = CASE WHEN :lease_seconds < 0 THEN not_before END, deaths",
            ),
        ),
        (f"{CRASH}/test_fetch_inputs.py",),
    ),
    Mutant(
        "doorbells are not rung again",
        ((f"{LIFECYCLE}/sweep/sweep.py", "return self.ring_again() + ", "return "),),
        (
            f"{CRASH}/test_dispatch.py::test_after_the_claims_commit_before_ringing",
            f"{CRASH}/test_dispatch.py::test_when_half_a_batch_is_rung",
            f"{CRASH}/test_generate.py::test_the_job_is_completed_and_charged_once[generate.before_start*",
        ),
    ),
    Mutant(
        "orphans are not found",
        (
            (
                f"{STORE}/attempts/calls.py",
                "attempts.state = 'CALLING' AND NOT EXISTS",
                "false AND NOT EXISTS",
            ),
        ),
        (
            f"{CRASH}/test_generate.py::test_the_job_is_completed_and_charged_once[generate.started*",
            f"{CRASH}/test_generate.py::test_the_job_is_completed_and_charged_once[generate.sent*",
            f"{CRASH}/test_generate.py::test_the_job_is_completed_and_charged_once[generate.answered*",
            f"{CRASH}/test_generate.py::test_in_the_middle_of_the_answers_body",
            f"{CRASH}/test_sweep.py::test_between_finding_orphans_and_settling_them",
        ),
    ),
    Mutant(
        "a live process's attempt may be rescued",
        (
            (
                f"{STORE}/attempts/calls.py",
                "attempts.state = 'CALLING' AND NOT EXISTS",
                "attempts.state = 'CALLING' OR EXISTS",
            ),
        ),
        (f"{CRASH}/test_generate.py::test_an_attempt_whose_process_lives_is_left_alone",),
    ),
    Mutant(
        "a token is free as soon as its attempt ends",
        (
            (
                f"{STORE}/attempts/closings.py",
                "WHEN sent_at IS NULL AND finished_at IS NULL THEN {_RETURNS_FROM_NOW}",
                "WHEN sent_at IS NULL THEN clock_timestamp()",
            ),
        ),
        (f"{CRASH}/test_generate.py::test_the_token_of_a_call_that_may_have_been_sent*",),
    ),
    Mutant(
        "the rescue does not look for stored images",
        ((f"{LIFECYCLE}/sweep/rescue.py", "return Succeeded(images) if images else", "return"),),
        (
            f"{CRASH}/test_generate.py::test_the_job_is_completed_and_charged_once[generate.stored_1*",
            f"{CRASH}/test_generate.py::test_the_job_is_completed_and_charged_once[generate.before_settle*",
            f"{CRASH}/test_generate.py::test_the_job_is_completed_and_charged_once[settle.before_commit*",
            f"{CRASH}/test_generate.py::test_after_two_of_three_images_are_stored*",
        ),
    ),
    Mutant(
        "settling is two commits",
        (
            (
                f"{LIFECYCLE}/settle/job_end.py",
                "            body = encode(",
                (
                    "            from imagequeue.failpoint import failpoint\n"
                    '            connection.commit(); failpoint("settle.before_commit")\n'
                    "            body = encode("
                ),
            ),
        ),
        (f"{CRASH}/test_generate.py::test_the_job_is_completed_and_charged_once[settle.before_commit*",),
    ),
    Mutant(
        "the webhook is not written with the settlement",
        ((f"{LIFECYCLE}/settle/job_end.py", "if job.webhook_url:", "if job.webhook_url is NotImplemented:"),),
        (f"{CRASH}/test_generate.py::test_the_job_is_completed_and_charged_once[settle.after_commit*",),
    ),
    Mutant(
        "a doorbell is answered whatever became of its attempt",
        (
            (
                f"{STORE}/attempts/calls.py",
                'return self.state == "RELEASED" or',
                'return self.state in ("RELEASED", "SUCCEEDED") or',
            ),
            (
                f"{STORE}/attempts/calls.py",
                "WHERE attempts.id = :id AND jobs.status = 'PROCESSING'",
                "WHERE attempts.id = :id",
            ),
            (
                f"{STORE}/attempts/calls.py",
                "AND state = 'RELEASED' AND jobs.id = job_id AND jobs.status = 'PROCESSING'",
                "AND jobs.id = job_id",
            ),
            (
                f"{STORE}/attempts/calls.py",
                "    SET state = 'CALLING', process_id",
                "    SET finished_at = NULL, slot_at = clock_timestamp(), state = 'CALLING', process_id",
            ),
            (
                f"{STORE}/attempts/calls.py",
                "        AND clock_timestamp() < slot_at",
                "        AND clock_timestamp() < clock_timestamp()",
            ),
            (
                f"{LIFECYCLE}/generate/call_start.py",
                "return time.monotonic() > self.window.closes",
                "return False",
            ),
        ),
        (f"{CRASH}/test_worker.py",),
    ),
    Mutant(
        "what the sweep selects is forgotten at once",
        (
            (
                f"{LIFECYCLE}/sweep/overdue.py",
                'failpoint("sweep.selected")',
                (
                    'engine.connect().execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql('
                    '"UPDATE jobs SET finish_by = NULL"); failpoint("sweep.selected")'
                ),
            ),
        ),
        (f"{CRASH}/test_sweep.py::test_between_finding_overdue_jobs_and_ending_them",),
    ),
    Mutant(
        "doorbells are put off before they are rung, in a commit of its own",
        (
            (
                f"{LIFECYCLE}/sweep/sweep.py",
                'failpoint("sweep.ringing")',
                'connection.commit(); failpoint("sweep.ringing")',
            ),
        ),
        (f"{CRASH}/test_sweep.py::test_between_putting_doorbells_off_and_ringing_them",),
    ),
    Mutant(
        "a webhook is recorded before it is sent",
        (
            (
                f"{LIFECYCLE}/deliver/deliver.py",
                'failpoint("deliver.sent")',
                'self._record(task, made, outcome); failpoint("deliver.sent")',
            ),
        ),
        (f"{CRASH}/test_deliver.py",),
    ),
    Mutant(
        "every POST has an id of its own",
        (
            (
                f"{LIFECYCLE}/deliver/deliver.py",
                "WebhookMessage(task.webhook_id,",
                'WebhookMessage(f"msg_{time.time_ns()}",',
            ),
        ),
        (f"{CRASH}/test_deliver.py",),
    ),
    Mutant(
        "the reference of a submit-and-poll upstream is not stored",
        (
            (
                f"{STORE}/attempts/calls.py",
                "upstream_reference = :reference,",
                "upstream_reference = left(:reference, 0),",
            ),
        ),
        (f"{CRASH}/test_generate.py::test_after_a_submit_and_poll_upstream_took_the_request",),
    ),
    Mutant(
        "a call in doubt is made again although its upstream may call back",
        (
            (
                f"{LIFECYCLE}/settle/history.py",
                "calls_back=may and not job.status.is_final",
                "calls_back=False",
            ),
        ),
        (
            f"{CRASH}/test_poll.py::test_before_the_reference_is_stored[generate.sent*",
            f"{CRASH}/test_poll.py::test_before_the_reference_is_stored[generate.answered*",
            f"{CRASH}/test_poll.py::test_before_the_reference_is_stored[generate.before_settle*",
            f"{CRASH}/test_poll.py::test_when_no_callback_comes_it_is_unknown_at_the_deadline",
            "tests/api/test_upstream_callbacks.py::test_an_upstream_that_breaks_off_its_answer_*",
        ),
    ),
    Mutant(
        "the upstream is not told where to call back",
        (
            (
                f"{LIFECYCLE}/generate/upstream_caller.py",
                "if deployment.callbacks else None",
                "if False else None",
            ),
        ),
        (
            f"{CRASH}/test_poll.py::test_before_the_reference_is_stored*",
            "tests/api/test_upstream_callbacks.py::test_an_upstream_that_breaks_off_its_answer_*",
        ),
    ),
    Mutant(
        "an upstream callback that comes in the last moment is overlooked",
        (
            (
                f"{STORE}/attempts/fences.py",
                "WHEN 'SLEEPING' THEN upstream_reference IS NOT DISTINCT FROM CAST(:reference AS text)",
                "WHEN 'SLEEPING' THEN true OR CAST(:reference AS text) IS NULL",
            ),
        ),
        (
            "tests/lifecycle/generate/test_upstream_callback.py::test_a_callback_in_the_last_moment_is_not_overlooked",
            "tests/lifecycle/generate/test_upstream_callback.py::test_what_it_knows_ends_nothing_once_the_upstream_has_called_back",
        ),
    ),
    Mutant(
        "the token of a call in doubt is free at once",
        (
            (
                f"{STORE}/attempts/closings.py",
                "WHEN sent_at IS NULL THEN {_RETURNS_FROM_NOW} ELSE",
                "WHEN sent_at IS NULL THEN clock_timestamp() ELSE",
            ),
        ),
        ("tests/lifecycle/generate/test_upstream_callback.py::test_an_orphan_waits_with_its_token_out_*",),
    ),
    Mutant(
        "a migration commits step by step",
        (
            (
                f"{STORE}/migration.py",
                "    with engine.begin() as connection:\n",
                '    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:\n',
            ),
        ),
        (f"{CRASH}/test_migration.py",),
    ),
    Mutant(
        "a submit is two commits",
        (
            (
                f"{LIFECYCLE}/submit/submit.py",
                'failpoint("submit.before_commit")',
                'connection.commit(); failpoint("submit.before_commit")',
            ),
        ),
        (f"{CRASH}/test_submit.py",),
    ),
    Mutant(
        "a success is accepted from open attempts only",
        (
            (
                f"{LIFECYCLE}/settle/settle.py",
                " | {AttemptState.UNKNOWN, AttemptState.LOST, AttemptState.SUCCEEDED}",
                "",
            ),
        ),
        (
            "tests/store/attempts/test_fences.py::test_a_success_that_comes_after_the_rescue_completes_the_job",
            "tests/store/attempts/test_fences.py::test_images_that_come_after_a_partial_rescue_are_kept",
        ),
    ),
    Mutant(
        "anybody may close a call in flight",
        (
            (
                f"{STORE}/attempts/fences.py",
                "WHEN 'CALLING' THEN process_id = :process_id",
                "WHEN 'CALLING' THEN true OR process_id = :process_id",
            ),
        ),
        (
            "tests/store/attempts/test_fences.py::test_a_process_cannot_give_back_the_call_of_another",
            "tests/store/attempts/test_fences.py::test_a_failure_of_another_process_closes_nothing",
        ),
    ),
    Mutant(
        "a final job may be ended again",
        (
            (
                f"{STORE}/jobs/settlements.py",
                "WHERE jobs.id = now.id AND status IN ('QUEUED', 'PROCESSING')",
                "WHERE jobs.id = now.id",
            ),
        ),
        ("tests/lifecycle/settle/test_settle.py::test_a_cancelled_job_makes_no_call",),
    ),
)


def main(names: list[str]) -> int:
    """Try the mutants whose names contain one of `names`, or all."""
    survivors = list[str]()
    for mutant in MUTANTS:
        if names and not any(name in mutant.name for name in names):
            continue
        passed = _passed(mutant)
        survivors += [f"{mutant.name}: {test}" for test in passed]
        sys.stdout.write(
            f"{'SURVIVED' if passed else 'killed  '}  {mutant.name} ({len(mutant.tests)} tests)\n"
        )
        sys.stdout.flush()
    for survivor in survivors:
        sys.stdout.write(f"not noticed: {survivor}\n")
    return int(bool(survivors))


def _passed(mutant: Mutant) -> list[str]:
    """The tests that do not notice that the guard is gone."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as directory:
        copy = Path(directory) / "checkout"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "demo"))
        for file, before, after in mutant.edits:
            _replace(copy / file, before, after)
        return [test for test in mutant.tests if _passes(copy, test)]


def _replace(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    if text.count(before) != 1:
        raise SystemExit(f"{path.name} has changed: {before!r} stands there {text.count(before)} times")
    path.write_text(text.replace(before, after))


def _passes(copy: Path, test: str) -> bool:
    file, _, name = test.partition("::")
    chosen = ["-k", _expression(name)] if name.endswith("*") else []
    target = file if chosen or not name else f"{file}::{name}"
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", target, *chosen]
    ended = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False, timeout=300)
    if ended.returncode not in (0, 1):
        raise SystemExit(f"{test}: {ended.stdout[-2000:]}{ended.stderr[-500:]}")
    return ended.returncode == 0


def _expression(name: str) -> str:
    return " and ".join(name.rstrip("*").replace("[", " ").split())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
