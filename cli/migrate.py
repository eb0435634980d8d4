"""`imagequeue migrate`: bring the schema up to date."""

from __future__ import annotations

from cli.errors import reported


@reported
def migrate() -> None:
    """Run the migrations; harmless to repeat and to run twice at once."""
    from cli.process import settings  # noqa: PLC0415  # heavy imports belong to the command that needs them
    from imagequeue.runtime import open_database  # noqa: PLC0415
    from imagequeue.store.migration import migrate as run_migrations  # noqa: PLC0415

    engine = open_database(settings(), pool_size=1, name="migrate")
    try:
        run_migrations(engine)
    finally:
        engine.dispose()
