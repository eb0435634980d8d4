"""Tests of `sweep`."""
