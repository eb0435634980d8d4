"""Tests of the statements about batches."""
