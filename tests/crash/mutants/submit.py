"""What makes a submit whole or not there."""

from __future__ import annotations

from tests.crash.mutants.mutant import CRASH, LIFECYCLE, Mutant

MUTANTS = (
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
)
