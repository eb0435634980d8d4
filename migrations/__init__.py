"""The schema, by Alembic."""
