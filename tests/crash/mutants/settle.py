"""What keeps one outcome from being settled twice, in part, or by somebody else."""

from __future__ import annotations

from tests.crash.mutants.mutant import CRASH, LIFECYCLE, STORE, Mutant

MUTANTS = (
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
        "settling is two commits",
        (
            (
                f"{LIFECYCLE}/settle/job_end.py",
                "        bodies = {\n",
                (
                    "        from imagequeue.failpoint import failpoint\n"
                    '        connection.commit(); failpoint("settle.before_commit")\n'
                    "        bodies = {\n"
                ),
            ),
        ),
        (f"{CRASH}/test_generate.py::test_the_job_is_completed_and_charged_once[settle.before_commit*",),
    ),
    Mutant(
        "the webhook is not written with the settlement",
        (
            (
                f"{LIFECYCLE}/settle/job_end.py",
                "if job.webhook_url\n",
                "if job.webhook_url is NotImplemented\n",
            ),
        ),
        (f"{CRASH}/test_generate.py::test_the_job_is_completed_and_charged_once[settle.after_commit*",),
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
        "an image that comes with others is added to a job that has ended",
        (
            (
                f"{LIFECYCLE}/settle/successes.py",
                "if job.image_count == 1 and not job.status.is_final",
                "if job.image_count == 1",
            ),
        ),
        (
            (
                "tests/lifecycle/settle/test_successes.py"
                "::test_one_whose_job_was_cancelled_brings_a_duplicate_and_the_others_complete"
            ),
        ),
    ),
    Mutant(
        "a fault of one success is the fault of all that come with it",
        (
            (
                f"{LIFECYCLE}/settle/successes.py",
                "return [False] * len(successes)",
                "raise",
            ),
        ),
        ("tests/lifecycle/settle/test_successes.py::test_one_that_cannot_be_settled_prevents_no_other",),
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
