"""Fences: who may say what came of an attempt. A condition of the very statement that writes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from imagequeue.domain.jobs import AttemptState
from imagequeue.store.attempts.calls import IS_ORPHANED

MAY_END = f"""
    CASE CAST(:fence AS text)
        WHEN 'caller' THEN CASE state
            WHEN 'CALLING' THEN process_id = :process_id
            WHEN 'SLEEPING' THEN upstream_reference IS NOT DISTINCT FROM CAST(:reference AS text)
            ELSE true
        END
        WHEN 'orphaned' THEN {IS_ORPHANED}
        ELSE true
    END
"""
"""Of an attempt: whether its fence lets the caller write. Its parameters are `Fence.values`."""


@dataclass(frozen=True, slots=True)
class Fence:
    """Who may close an attempt, and from which states.

    `who`: "caller" (a call in flight only by the process that makes it, a sleeping attempt only by who
    knows all that is known of it, its `reference`), "orphaned" (a call that is in nobody's hands), "anyone".
    """

    who: Literal["caller", "orphaned", "anyone"]
    sources: frozenset[AttemptState]
    process_id: UUID | None = None
    reference: str | None = None

    def values(self) -> dict[str, Any]:
        """The parameters of `MAY_END`."""
        return {"fence": self.who, "process_id": self.process_id, "reference": self.reference}
