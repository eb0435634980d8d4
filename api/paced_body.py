"""A large body that must arrive at a least rate, so that a slow client keeps no place for hours."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

from fastapi import Request
from starlette.requests import ClientDisconnect

from imagequeue.domain.errors import InvalidRequest, TooLarge

LEAST_BYTES_PER_SECOND = 64 * 1024
"""A tenth of the upload of a slow line: 1 GiB takes less than five hours."""

GRACE_SECONDS = 30.0
"""What a client may be behind that rate."""


async def paced_body(request: Request, most: int, grace: float = GRACE_SECONDS) -> AsyncGenerator[bytes]:
    """The chunks of a body of at most `most` bytes. Time that the caller takes between two does not count.

    Raises:
        TooLarge: it is longer, or says that it is.
        InvalidRequest: it breaks off, or falls more than `grace` seconds behind the least rate.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most:
        raise TooLarge(f"The request body is larger than {most} bytes")
    size, waited, chunks = 0, 0.0, request.stream()
    while True:
        began = time.monotonic()
        try:
            async with asyncio.timeout(grace + size / LEAST_BYTES_PER_SECOND - waited):
                chunk = await anext(chunks, None)
        except TimeoutError:
            raise InvalidRequest(
                f"The body arrives at less than {LEAST_BYTES_PER_SECOND // 1024} KiB a second"
            ) from None
        except ClientDisconnect:
            raise InvalidRequest("The body broke off") from None
        waited += time.monotonic() - began
        if chunk is None:
            return
        size += len(chunk)
        if size > most:
            raise TooLarge(f"The request body is larger than {most} bytes")
        yield chunk
