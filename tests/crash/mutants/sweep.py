"""What finds the work of a dead process, and leaves that of a live one alone."""

from __future__ import annotations

from tests.crash.mutants.mutant import CRASH, LIFECYCLE, STORE, Mutant

MUTANTS = (
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
)
