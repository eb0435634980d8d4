"""What lets a crash in the middle of a claim cost nothing."""

from __future__ import annotations

from tests.crash.mutants.mutant import CRASH, LIFECYCLE, Mutant

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
)
