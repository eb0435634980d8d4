"""Follow a batch: download what finishes, write the manifest, show how far it is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from cli.backfill.directory import BackfillDirectory, RunState
from cli.backfill.display import BackfillDisplay
from cli.backfill.images import ImageFolder, SavedImage, WantedImage, image_folder
from cli.backfill.manifest import Manifest
from cli.backfill.names import FileNames
from cli.backfill.server import BatchServer, Body, Patience
from imagequeue.domain.batches import ENDED_BATCHES, RESUMED_BY_HAND, BatchState
from imagequeue.failpoint import failpoint

LOOK_SECONDS = 1.0
"""Between two looks at a batch: as often as a person reads numbers."""

PAUSED_LOOKS = 15
"""So many looks a batch that is paused when the command begins has to go on, where the reasons may go by
themselves: the server sees a deposit or a higher budget within seconds."""


class Follower:
    """Follows the batch of a directory."""

    def __init__(
        self, server: BatchServer, patience: Patience, directory: BackfillDirectory, state: RunState
    ) -> None:
        self._server = server
        self._patience = patience
        self._directory = directory
        self._state = state
        self._batch_id = state.batch_id or ""
        self._patient_looks = PAUSED_LOOKS
        if state.missing:
            state.begin_again()
        self._manifest = Manifest(directory, state)

    def follow(self, display: BackfillDisplay) -> Body:
        """The batch when it has ended, or is paused and no call of it runs; its images are here then.

        Raises:
            RemoteRefusal, RemoteAway: the server refuses, or has been away for too long.
            OSError: the disk is full, or takes no files.
        """
        names = FileNames(self._state.terms["name_template"], _lines(self._state.clashing))
        with image_folder(self._directory.path, names) as folder:
            while True:
                batch = self._patience.ask(lambda: self._server.progress(self._batch_id))
                display.show(batch, self._errors(batch))
                while self._take(folder, display):
                    pass
                if batch["status"] in ENDED_BATCHES:
                    self._manifest.settle_retried()
                    return batch
                if self._stays_paused(batch):
                    return batch
                time.sleep(LOOK_SECONDS)

    def _stays_paused(self, batch: Body) -> bool:
        """Whether nothing will come any more unless a person does something."""
        if batch["status"] != BatchState.PAUSED:
            self._patient_looks = 0
        if batch["status"] != BatchState.PAUSED or batch["running"]:
            return False
        self._patient_looks -= 1
        return self._patient_looks < 0 or not RESUMED_BY_HAND.isdisjoint(batch["reasons"])

    def _errors(self, batch: Body) -> Sequence[Body]:
        """The errors by code, if there are any."""
        counts = batch["counts"]
        if not counts["failed"] + counts["unknown"]:
            return ()
        return self._patience.ask(lambda: self._server.errors(self._batch_id))

    def _take(self, folder: ImageFolder, display: BackfillDisplay) -> bool:
        """Download the images of the next results; whether there were any.

        A URL is valid for a while only, so what was refused is asked for again by the URL of a new reading.
        """
        results, saved = self._patience.ask(lambda: self._downloaded(folder))
        if any(one.file is None for one in saved):
            results, saved = self._patience.ask(lambda: self._downloaded(folder))
        if not results:
            return False
        failpoint("backfill.after_images")
        self._manifest.add(results, saved)
        display.downloaded(saved)
        return True

    def _downloaded(self, folder: ImageFolder) -> tuple[list[Body], list[SavedImage]]:
        results = self._server.results(self._batch_id, self._state.cursor)
        return results, folder.save([image for one in results for image in _wanted(one)])


def _wanted(result: Body) -> list[WantedImage]:
    images: list[dict[str, Any]] = result["images"]
    return [
        WantedImage(result["custom_id"], result["number"], number, image)
        for number, image in enumerate(images, 1)
    ]


def _lines(clashing: list[int] | None) -> frozenset[int] | None:
    return None if clashing is None else frozenset(clashing)
