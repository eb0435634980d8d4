"""What all answers of OpenRouter have: the usage with its cost, and server-sent events."""

from collections.abc import Sequence
from typing import Any

from simulator.providers.provider import Success
from simulator.wire import Answer


def usage(success: Success, images: int) -> dict[str, Any]:
    """Made-up tokens, and what the images cost."""
    cost = float(success.config.cost_usd * images)
    return {"prompt_tokens": 10, "completion_tokens": 1000, "total_tokens": 1010, "cost": cost}


def events(lines: Sequence[str]) -> Answer:
    """A stream that begins with a comment, as the true one does."""
    text = ": OPENROUTER PROCESSING\n\n" + "".join(f"data: {line}\n\n" for line in lines)
    return Answer(200, text.encode(), {}, "text/event-stream")
