"""`imagequeue migrate`: bring the schema up to date."""

from __future__ import annotations


def migrate() -> None:
    """Run the migrations; harmless to repeat and to run twice at once."""
    from cli.process import settings  # noqa: PLC0415  # heavy imports belong to the command that needs them
    from imagequeue.store.database import open_engine  # noqa: PLC0415
    from imagequeue.store.migration import migrate as run_migrations  # noqa: PLC0415

    engine = open_engine(settings().sqlalchemy_url, pool_size=1, name="migrate")
    try:
        run_migrations(engine)
    finally:
        engine.dispose()
