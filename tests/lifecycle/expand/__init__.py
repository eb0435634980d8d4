"""Tests of `expand`."""
