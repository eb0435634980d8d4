"""The words by which an error says that the content of a request was refused, and not its form.

Sources: the codes that the documents of the upstreams show, and those that are seen from gateways in front
of the same models (OpenRouter passes on what its own upstreams say).
"""

from __future__ import annotations

import re

_POLICY = re.compile(
    r"content[\s_-]*(policy|filter|safety|management|violation|moderation|block)|responsible\s*ai"
    r"|safety[\s_-]*(system|filter|policy|violation)|image[\s_-]*safety|unsafe|moderat(ion|ed)|flagged"
    r"|violat\w+ (of )?(our|the|usage|content)|prohibited[\s_-]*content|nsfw"
    r"|sensitive[\s_-]*(word|content)|inappropriate[\s_-]*content|data[\s_-]*inspection[\s_-]*failed"
    r"|prompt[\s_-]*blocked|blocked[\s_-]*prompt",
    re.IGNORECASE,
)


def is_policy(text: str) -> bool:
    """Whether a code or a message says that content was refused."""
    return _POLICY.search(text) is not None
