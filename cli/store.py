"""What operator commands open: the database and the keyring, without a catalog or Redis."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy import Engine

from imagequeue.runtime import open_database
from imagequeue.settings import load_settings
from imagequeue.signing import Keyring


@contextmanager
def operator_engine() -> Generator[Engine]:
    """One connection to the database, closed at the end."""
    engine = open_database(load_settings(), pool_size=1, name="cli")
    try:
        yield engine
    finally:
        engine.dispose()


def operator_keyring() -> Keyring:
    """The keyring of IMAGEQUEUE_SECRET_KEY.

    Raises:
        ConfigurationError: the variable is missing or too short.
    """
    return Keyring(load_settings().secret_key.get_secret_value())
