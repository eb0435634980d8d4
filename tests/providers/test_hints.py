"""When an upstream says that one may call again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from imagequeue.providers.hints import retry_after_seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "7.5"}, 7.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"x-ms-retry-after-ms": "9000", "retry-after": "7"}, 9.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan", "retry-after-ms": "inf"}, None),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "Sat, 21 Nov 2026 07:01:00 GMT", "date": "Sat, 21 Nov 2026 07:00:00 GMT"}, 60.0),
        ({"retry-after": "Sat, 21 Nov 2026 06:00:00 GMT", "date": "Sat, 21 Nov 2026 07:00:00 GMT"}, 0.0),
    ],
)
def test_hints(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(httpx.Headers(headers)) == (
        None if seconds is None else pytest.approx(seconds)  # pyright: ignore[reportUnknownMemberType]
    )


def test_a_date_without_the_answers_own_date_counts_from_now() -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=50), usegmt=True)
    assert 45 < (retry_after_seconds(httpx.Headers({"retry-after": moment})) or 0) <= 50
