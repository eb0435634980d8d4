"""The process that makes calls, as its attempts see it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from uuid import UUID

from imagequeue.lifecycle.generate.in_flight import InFlight
from imagequeue.lifecycle.generate.punctuality import Punctuality


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """`id` stands in the attempts that it calls; `stopping` is set when it is asked to end.

    `punctuality`: how late it begins its calls.
    """

    id: UUID
    stopping: threading.Event
    punctuality: Punctuality
    in_flight: InFlight = field(default_factory=InFlight)
