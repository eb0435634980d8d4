"""The guards that crash tests are there for, by the verb that they belong to."""

from __future__ import annotations

from tests.crash.mutants import deliver, dispatch, generate, migration, settle, submit, sweep

MUTANTS = (
    *submit.MUTANTS,
    *dispatch.MUTANTS,
    *generate.MUTANTS,
    *settle.MUTANTS,
    *sweep.MUTANTS,
    *deliver.MUTANTS,
    *migration.MUTANTS,
)
