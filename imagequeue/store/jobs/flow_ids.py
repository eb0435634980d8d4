"""Caches the ids of flows, which never change: a process reads each only once."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from imagequeue.store.jobs.insert import FlowKey

_MOST = 50_000
"""Ids in the cache. It is emptied before it would hold more, so that many accounts do not fill the memory."""


class FlowIds:
    """Ids of committed flows by their keys. Shared by threads: each operation is one on a dict."""

    def __init__(self) -> None:
        self._ids: dict[FlowKey, int] = {}

    def known(self, keys: Collection[FlowKey]) -> dict[FlowKey, int]:
        """The ids of those keys that are in the cache."""
        return {key: found for key in keys if (found := self._ids.get(key)) is not None}

    def remember(self, ids: Mapping[FlowKey, int]) -> None:
        """Store ids; call it only after the transaction that read or inserted them has committed."""
        if len(self._ids) + len(ids) > _MOST:
            self._ids.clear()
        self._ids.update(ids)
