"""`imagequeue migrate`: bring the schema up to date."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.errors import reported


@reported
def migrate(
    *,
    storage: Annotated[
        bool, typer.Option("--storage", help="Make the storage ready too, as `storage init` does.")
    ] = False,
) -> None:
    """Run the migrations; harmless to repeat and to run twice at once."""
    from cli.process import settings  # noqa: PLC0415  # heavy imports belong to the command that needs them
    from imagequeue.runtime import open_database  # noqa: PLC0415
    from imagequeue.store.migration import migrate as run_migrations  # noqa: PLC0415

    read = settings()
    engine = open_database(read, pool_size=1, name="migrate")
    try:
        run_migrations(engine)
    finally:
        engine.dispose()
    if storage:
        from cli.storage import show_set_up  # noqa: PLC0415  # boto3 takes long to import

        show_set_up(read)
