"""Sweep: find what was lost (doorbells, deadlines, calls of dead processes) and repair it."""
