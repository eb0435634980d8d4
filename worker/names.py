"""The name of the Celery task, as messages have it."""

from __future__ import annotations

GENERATE = "generate"
