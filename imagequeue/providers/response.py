"""The answer of an upstream: status, headers and a body that may be on disk."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from types import TracebackType
from typing import IO, Any, Self

import httpx

from imagequeue.domain.upstream import Unavailable

LARGE_BYTES = 64 * 1024
"""A larger body holds images."""


@dataclass(frozen=True, slots=True)
class UpstreamResponse:
    """An answer, read to its end. `body` is a file, on disk above 1 MiB; `close` frees it.

    `url` is where the request went: a relative link in the answer counts from there.
    """

    status: int
    headers: httpx.Headers
    body: IO[bytes]
    url: str = ""

    @property
    def is_large(self) -> bool:
        """Whether parsing takes so much memory and time that few answers may be parsed at once."""
        return self.body.seek(0, os.SEEK_END) > LARGE_BYTES

    def content(self) -> bytes:
        """The whole body, from the start."""
        self.body.seek(0)
        return self.body.read()

    def json(self) -> Any:
        """The body as JSON, with numbers such as 0.0626835 as Decimal.

        Read as leniently as is safe, because an image in it is paid: a string may hold line breaks, and a
        number that Python cannot hold is None.

        Raises:
            Unavailable: the body is not JSON.
        """
        try:
            return json.loads(
                self.content(),
                strict=False,
                parse_float=_fraction,
                parse_int=_integer,
                parse_constant=_no_number,
            )
        except (ValueError, RecursionError):
            raise Unavailable("the answer is not JSON", http_status=self.status) from None

    def close(self) -> None:
        """Free the body."""
        self.body.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _fraction(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent that no Decimal has
        return None


def _integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:  # more digits than Python converts
        return None


def _no_number(name: str) -> None:
    """NaN and the infinities, which are not JSON: no amount and no status."""
    del name
