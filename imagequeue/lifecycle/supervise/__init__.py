"""Supervise: batches are paused, go on, are cancelled, expire and end (docs/design/backfills.md)."""
