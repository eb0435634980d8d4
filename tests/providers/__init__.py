"""Adapters and the sender."""
