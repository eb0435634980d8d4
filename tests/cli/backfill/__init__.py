"""Tests of `imagequeue backfill`."""
