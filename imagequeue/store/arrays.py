"""Arrays of Postgres as text, for the statements of every job.

The driver looks at each element for what it is and whether it needs quotes, which took a tenth of what a
submit costs the API. Here every element has quotes, which all types take; the statement casts the array.
"""

from __future__ import annotations

from collections.abc import Iterable


def array(values: Iterable[object]) -> str:
    """The array of these values, in the text form of Postgres; None is NULL, and bytes are a `bytea`.

    Source: Postgres, "Arrays", "Array Input and Output Syntax".
    """
    return "{" + ",".join(map(_element, values)) + "}"


def _element(value: object) -> str:
    if value is None:
        return "NULL"
    text = f"\\x{value.hex()}" if isinstance(value, bytes) else str(value)
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
