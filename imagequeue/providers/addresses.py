"""Where a call goes: a catalog entry's endpoint and the document's path."""

from __future__ import annotations


def joined(endpoint: str, path: str) -> str:
    """The endpoint with `path` after it; a path that the endpoint already ends with is not doubled.

    So `https://openrouter.ai` and `https://openrouter.ai/api/v1/chat/completions` both mean the same.
    """
    base = endpoint.rstrip("/")
    return base if base.endswith(path) else base + path
