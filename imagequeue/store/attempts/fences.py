"""Fences: which process may write the outcome of an attempt. A condition in the statement that writes it."""

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
                AND (polled_by IS NULL OR polled_by = :process_id)
            ELSE true
        END
        WHEN 'orphaned' THEN {IS_ORPHANED}
        ELSE true
    END
"""
"""Whether the fence permits the write. The parameters are `Fence.values`."""


@dataclass(frozen=True, slots=True)
class Fence:
    """Who may close an attempt, and from which states.

    `who`: "caller" (a call in flight only by the process that makes it, a sleeping attempt only with the
    `reference` that its row has, and only by the process that polls for it, if one does), "orphaned" (any
    process, but only an orphaned call), "anyone".
    """

    who: Literal["caller", "orphaned", "anyone"]
    sources: frozenset[AttemptState]
    process_id: UUID | None = None
    reference: str | None = None

    def values(self) -> dict[str, Any]:
        """The parameters of `MAY_END`."""
        return {"fence": self.who, "process_id": self.process_id, "reference": self.reference}
