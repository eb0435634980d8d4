"""How Alembic reaches the database: a connection given by the caller, or `IMAGEQUEUE_DATABASE_URL`."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from imagequeue.settings import load_settings
from imagequeue.store.database import open_engine
from imagequeue.store.tables import metadata


def run(connection: Connection) -> None:
    """Run the migrations on a connection, all in one transaction."""
    context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=False)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    settings = load_settings()
    url = settings.database_url.get_secret_value()
    engine = open_engine(url, pool_size=1, name="alembic", pooler=settings.database_pooler)
    with engine.connect() as own:
        run(own)
    engine.dispose()
