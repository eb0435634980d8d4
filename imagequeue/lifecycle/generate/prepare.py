"""Prepare: the call as a provider takes it, with its input images at hand."""

from __future__ import annotations

from imagequeue.domain.images import ImageRequest
from imagequeue.lifecycle.generate.inputs import Inputs
from imagequeue.providers.provider import Call
from imagequeue.store.attempts.calls import CallTicket


def prepared(inputs: Inputs, ticket: CallTicket, asked: ImageRequest, callback_url: str | None) -> Call:
    """The call with its input images in memory. `callback_url`: where its upstream may call back, if it may.

    Raises:
        InputRefused: one is gone.
        StorageUnavailable: the storage is away.
    """
    images, mask = inputs.load(ticket.job_id, asked)
    return Call(
        prompt=asked.prompt,
        operation=asked.operation,
        image_count=ticket.image_count,
        shape=asked.shape,
        output_format=asked.output_format,
        options=asked.options,
        input_images=images,
        mask=mask,
        callback_url=callback_url,
    )
