"""Expand: lines of batches become jobs, a few at a time (docs/design/backfills.md, "Lines become jobs")."""
