"""Whether a schema is the newest is told without Alembic, and as Alembic tells it."""

from __future__ import annotations

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, make_url, text

from imagequeue.store.database import open_engine
from imagequeue.store.migration import MIGRATIONS
from imagequeue.store.revision import is_newest, newest


def test_the_newest_revision_is_the_head_of_alembic() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert newest() == ScriptDirectory.from_config(config).get_current_head()


def test_a_migrated_schema_is_the_newest_and_one_that_lacks_a_migration_is_not(engine: Engine) -> None:
    assert is_newest(engine)
    stored = text("UPDATE alembic_version SET version_num = :name")
    with engine.begin() as connection:
        connection.execute(stored, {"name": "2026_11_21_initial_schema"})
    try:
        assert not is_newest(engine)
    finally:
        with engine.begin() as connection:
            connection.execute(stored, {"name": newest()})


def test_a_database_without_a_schema_is_not_the_newest(database_url: str) -> None:
    empty = make_url(database_url).set(database="postgres").render_as_string(hide_password=False)
    engine = open_engine(empty, pool_size=1, name="tests")
    assert not is_newest(engine)
    engine.dispose()
