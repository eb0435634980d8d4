"""Backfills: files, batches and their validation."""
