"""A line of the output or the error file of a batch, in the form of OpenAI's Batch API.

Source: docs/design/backfills.md, "Results".
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from imagequeue.domain.batches import LineState
from imagequeue.domain.job_view import JobView, OutputImage
from imagequeue.media.storage import ObjectMissing
from imagequeue.store.batches.results import LineView

MOST_IMAGE_BYTES = 4 * 1024 * 1024
"""Of an image whose base64 stands in a file; a larger one is named by its URL."""


@dataclass(frozen=True, slots=True)
class LineAnswer:
    """What the route of a line would have answered: the status, and the body as JSON text."""

    status: int
    body: str


Answer = Callable[[JobView, Mapping[str, str]], LineAnswer]
"""What the dialect of a job answers; the second argument are the headers of the client."""

WantsContent = Callable[[JobView, Mapping[str, str]], bool]
"""Whether that answer holds the images themselves."""


@dataclass(frozen=True, slots=True)
class ResultLines:
    """Writes lines; `content` reads a stored object. `most_image_bytes` is as `MOST_IMAGE_BYTES`."""

    answer: Answer
    wants_content: WantsContent
    content: Callable[[str], bytes]
    most_image_bytes: int = MOST_IMAGE_BYTES

    def line(
        self, line: LineView, job: JobView | None, headers: Mapping[str, str], *, has_room: bool
    ) -> bytes:
        """The line, with its end. `has_room`: the file may still hold base64."""
        told: dict[str, Any] = {
            "id": f"batch_req_{line.number}",
            "custom_id": line.custom_id,
            "response": None,
            "error": None,
        }
        if job is not None and job.status.is_final:
            told |= self._answered(job, headers, has_room=has_room)
        if line.state not in {LineState.COMPLETED, LineState.SKIPPED}:
            told["error"] = {"code": line.error_code or line.state.value, "message": line.error_message or ""}
        return json.dumps(told, separators=(",", ":")).encode() + b"\n"

    def _answered(self, job: JobView, headers: Mapping[str, str], *, has_room: bool) -> dict[str, Any]:
        """The members about a job's answer. A body is JSON; it is read so that it stands in the line."""
        left_out = ""
        if self.wants_content(job, headers):
            job, left_out = self._with_content(job, has_room=has_room)
        answer = self.answer(job, headers)
        response = {
            "status_code": answer.status,
            "request_id": job.request_id,
            "body": json.loads(answer.body),
        }
        return {"response": response} | ({"note": left_out} if left_out else {})

    def _with_content(self, job: JobView, *, has_room: bool) -> tuple[JobView, str]:
        if not has_room:
            return job, "The file has as many bytes as a file may have, so images are named by their URLs"
        images = tuple(self._encoded(image) for image in job.images)
        if all(image.base64 is not None for image in images):
            return replace(job, images=images), ""
        large = f"An image of more than {self.most_image_bytes} bytes"
        return replace(job, images=images), f"{large}, or one that is not stored, is named by its URL"

    def _encoded(self, image: OutputImage) -> OutputImage:
        if image.size_bytes > self.most_image_bytes:
            return image
        try:
            return replace(image, base64=b64encode(self.content(image.storage_key)).decode())
        except ObjectMissing:
            return image  # for good: a batch that waited for it would never end
