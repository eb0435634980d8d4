"""What keeps a crash around a call, or around the fetch of its inputs, from costing a second one."""

from __future__ import annotations

from tests.crash.mutants.mutant import CRASH, LIFECYCLE, STORE, Mutant

MUTANTS = (
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
        "a doorbell is answered whatever became of its attempt",
        (
            (
                f"{STORE}/attempts/calls.py",
                'return self.state == "RELEASED" or',
                'return self.state in ("RELEASED", "SUCCEEDED") or',
            ),
            (
                f"{STORE}/attempts/calls.py",
                "unnest(CAST(:ids AS uuid[])))) AND jobs.status = 'PROCESSING'",
                "unnest(CAST(:ids AS uuid[]))))",
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
                "if time.monotonic() > self.window.closes",
                "if False",
            ),
        ),
        (f"{CRASH}/test_worker.py",),
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
)
