"""Tests of the statements about money."""
