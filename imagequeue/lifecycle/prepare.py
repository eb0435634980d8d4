"""Prepare: what a call needs besides its slot, at hand before the slot comes.

A storage that is away gives the attempt back: nothing was sent, and nothing is lost by waiting.
"""

from __future__ import annotations

from imagequeue.domain.images import ImageRequest
from imagequeue.domain.verdicts import GivenBack
from imagequeue.lifecycle.inputs import Inputs
from imagequeue.media.storage import StorageError
from imagequeue.providers.provider import Call
from imagequeue.store.attempts import CallTicket


def fetch_inputs(inputs: Inputs, ticket: CallTicket, asked: ImageRequest) -> None:
    """Bring input images that are URLs into the storage; this waits for networks.

    Raises:
        InputRefused: one cannot be used.
        GivenBack: the storage is away.
    """
    try:
        inputs.fetch(ticket.job_id, asked)
    except StorageError as error:
        raise GivenBack(f"an input image cannot be stored: {error}", started=False) from error


def prepared(inputs: Inputs, ticket: CallTicket, asked: ImageRequest) -> Call:
    """The call with its input images in memory.

    Raises:
        InputRefused: one is gone.
        GivenBack: the storage is away.
    """
    try:
        images, mask = inputs.load(ticket.job_id, asked)
    except StorageError as error:
        raise GivenBack(f"an input image cannot be read: {error}", started=False) from error
    return Call(
        prompt=asked.prompt,
        operation=asked.operation,
        image_count=ticket.image_count,
        shape=asked.shape,
        output_format=asked.output_format,
        options=asked.options,
        input_images=images,
        mask=mask,
    )
