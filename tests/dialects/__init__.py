"""Tests of the dialects: one suite for all of them, on the examples of each."""
