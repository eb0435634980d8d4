"""Remembers the ids of flows, which never change: a process asks for each only once."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from imagequeue.store.jobs.insert import FlowKey

_MOST = 50_000


class FlowIds:
    """Ids of committed flows by their keys. Shared by threads: each operation is one on a dict."""

    def __init__(self) -> None:
        self._ids: dict[FlowKey, int] = {}

    def known(self, keys: Collection[FlowKey]) -> dict[FlowKey, int]:
        """Those of the keys whose ids are remembered."""
        return {key: found for key in keys if (found := self._ids.get(key)) is not None}

    def remember(self, ids: Mapping[FlowKey, int]) -> None:
        """Keep ids; call it only after the transaction that read or made them has committed."""
        if len(self._ids) + len(ids) > _MOST:
            self._ids.clear()
        self._ids.update(ids)
