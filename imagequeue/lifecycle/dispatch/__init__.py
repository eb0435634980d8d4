"""Grants quota, claims jobs, and rings workers."""
