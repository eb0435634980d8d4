"""Tests of `retention`."""
