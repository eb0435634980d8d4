"""The answers to guarded requests."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Self

from imagequeue.spooling import Spool


@dataclass(frozen=True, slots=True)
class Head:
    """Status and header fields of an answer, the latter as received (names in lower case, latin-1)."""

    status: int
    headers: tuple[tuple[str, str], ...]

    def header(self, name: str) -> str | None:
        """Return the first value of the header `name` (lower case)."""
        return next((value for key, value in self.headers if key == name), None)


@dataclass(frozen=True, slots=True)
class Receipt(Head):
    """The answer to a webhook: its head, and the first raw bytes of its body, as far as they came."""

    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Download(Head):
    """An answer with its whole body. Close it, or use it as a context manager.

    `file` holds the raw body of a 2xx answer and is empty for any other.
    """

    file: Spool

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()
