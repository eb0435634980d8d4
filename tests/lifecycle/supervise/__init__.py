"""Tests of `supervise`."""
