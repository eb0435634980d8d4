"""Tests of files, batches and their validation."""
