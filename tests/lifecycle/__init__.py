"""The lifecycle tests."""
