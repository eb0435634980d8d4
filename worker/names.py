"""The names of the Celery tasks, as messages have them."""

from __future__ import annotations

GENERATE = "generate"
DELIVER = "deliver"
