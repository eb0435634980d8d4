"""A pipeline, for rules of the store that only its verbs can break."""

from tests.lifecycle.conftest import pipeline

__all__ = ["pipeline"]
