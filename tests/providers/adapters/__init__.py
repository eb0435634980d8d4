"""Tests of single adapters."""
