"""Tests of `eta`."""
