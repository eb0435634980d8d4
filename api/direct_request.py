"""The request that a direct route is given: its header fields are read once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import Scope


class IndexedHeaders(Headers):
    """Header fields by their names. A submit asks for some twenty, of which most are not there."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope=scope)
        self._pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self.raw]
        self._first = dict(reversed(self._pairs))

    def __getitem__(self, key: str) -> str:
        return self._first[key.lower()]

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key.lower() in self._first

    def __iter__(self) -> Iterator[str]:
        return iter(self._first)

    def get(self, key: str, default: Any = None) -> Any:
        """The first value of a field."""
        return self._first.get(key.lower(), default)

    def items(self) -> list[tuple[str, str]]:  # type: ignore[override]  # as the framework's
        """Names and values, each as often as it is there."""
        return self._pairs

    def getlist(self, key: str) -> list[str]:
        """All values of a field."""
        wanted = key.lower()
        return [value for name, value in self._pairs if name == wanted] if wanted in self._first else []


class DirectRequest(Request):
    """A request whose header fields are indexed."""

    @property
    def headers(self) -> Headers:
        """The header fields."""
        if not hasattr(self, "_headers"):
            self._headers = IndexedHeaders(self.scope)
        return self._headers
