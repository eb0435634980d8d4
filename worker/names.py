"""The names of the tasks, as they stand in messages."""

from __future__ import annotations

GENERATE = "generate"
DELIVER = "deliver"
