"""What makes a migration whole or not there."""

from __future__ import annotations

from tests.crash.mutants.mutant import CRASH, STORE, Mutant

MUTANTS = (
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
)
