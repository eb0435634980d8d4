"""Finds what was lost, and settles what dead processes left behind."""
