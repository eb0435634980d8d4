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
        self._values: dict[str, list[str]] = {}
        for name, value in self.raw:
            self._values.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))

    def __getitem__(self, key: str) -> str:
        return self._values[key.lower()][0]

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def get(self, key: str, default: Any = None) -> Any:
        """The first value of a field."""
        values = self._values.get(key.lower())
        return values[0] if values else default

    def items(self) -> list[tuple[str, str]]:  # type: ignore[override]  # as the framework's
        """Names and values."""
        return [(name, value) for name, values in self._values.items() for value in values]

    def getlist(self, key: str) -> list[str]:
        """All values of a field."""
        return list(self._values.get(key.lower(), ()))


class DirectRequest(Request):
    """A request whose header fields are indexed."""

    @property
    def headers(self) -> Headers:
        """The header fields."""
        if not hasattr(self, "_headers"):
            self._headers = IndexedHeaders(self.scope)
        return self._headers
