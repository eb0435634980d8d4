"""The completion window of a batch: how long its lines may take.

Source: docs/design/backfills.md, "Expiry".
"""

from __future__ import annotations

import re
from datetime import timedelta

from imagequeue.domain.errors import InvalidRequest

LONGEST = timedelta(days=90)

_WINDOW = re.compile(r"([1-9][0-9]{0,3})([hd])")
_NO_EXPIRY = "24h"
"""What OpenAI's clients must send; here it says that nothing expires."""


def window_length(text: str) -> timedelta | None:
    """What `<n>h` or `<n>d` says; None: nothing expires.

    Raises:
        InvalidRequest: it is no such window, or a longer one than `LONGEST`.
    """
    if text == _NO_EXPIRY:
        return None
    found = _WINDOW.fullmatch(text)
    if found is None:
        raise InvalidRequest("completion_window: use a number of hours or days, such as 24h or 7d")
    count = int(found[1])
    length = timedelta(days=count) if found[2] == "d" else timedelta(hours=count)
    if length > LONGEST:
        raise InvalidRequest(f"completion_window: at most {LONGEST.days}d")
    return length
