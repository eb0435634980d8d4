"""The schema can be taken back, revision after revision, and brought up again; jobs survive that."""

from __future__ import annotations

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from imagequeue.store.migration import MIGRATIONS
from imagequeue.store.tables import metadata
from tests.pipeline import Pipeline


def _configuration() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config


def test_every_migration_can_be_taken_back_with_jobs_in_the_database(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit()
    pipeline.run()
    pipeline.submit()
    config, engine = _configuration(), pipeline.runtime.engine
    revisions = list(ScriptDirectory.from_config(config).walk_revisions())
    for revision in revisions[:-1]:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.downgrade(config, str(revision.down_revision))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    assert pipeline.status(job_id) == "COMPLETED"
