"""Tests of `settle`."""
