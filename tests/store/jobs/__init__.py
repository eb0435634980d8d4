"""Tests of what the store keeps of jobs."""
