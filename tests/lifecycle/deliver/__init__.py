"""Tests of `deliver`."""
