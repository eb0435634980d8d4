"""The upstream side of an attempt: which deployment is called, with which secret, over which connections."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from uuid import UUID

import httpx

from imagequeue.domain.catalog import Catalog, Deployment
from imagequeue.domain.images import ImageRequest
from imagequeue.domain.upstream import Images, Pending
from imagequeue.failpoint import failpoint
from imagequeue.lifecycle.generate.call_start import CallStart
from imagequeue.lifecycle.generate.inputs import Inputs
from imagequeue.providers.exchange import response_limit, send
from imagequeue.providers.provider import Call
from imagequeue.providers.registry import PROVIDERS
from imagequeue.providers.request_body import spooled_request
from imagequeue.providers.response import UpstreamResponse
from imagequeue.store.attempts.calls import CallTicket

Parse = Callable[[UpstreamResponse], Images | Pending]
"""Reads an answer. It raises an UpstreamError where the answer is none of the two."""


@dataclass(frozen=True, slots=True)
class UpstreamCaller:
    """Calls deployments.

    `secret` gives what authenticates a call; `callback_url` is where an upstream may call back about an
    attempt; `inputs` has the images of an edit.
    """

    catalog: Callable[[], Catalog]
    secret: Callable[[Deployment], str]
    client: httpx.Client
    callback_url: Callable[[UUID], str]
    inputs: Inputs

    def call(self, start: CallStart) -> tuple[UpstreamResponse, Parse]:
        """Make the call of an attempt at its start; the answer, and how to read it.

        Raises:
            UpstreamError: there is no answer, or (GivenBack) the call was not begun.
            InputRefused: an input image is gone; nothing was sent.
            StorageUnavailable: the storage is away; nothing was sent.
        """
        ticket, deployment = start.ticket, start.deployment
        provider, secret = PROVIDERS[deployment.provider], self.secret(deployment)
        asked = ImageRequest.from_parameters(ticket.model_id, ticket.prompt, ticket.parameters)
        with (
            spooled_request(
                lambda: provider.build(self._with_inputs(ticket, asked, deployment), deployment, secret),
                large=asked.operation == "edit",
            ) as request,
            ExitStack() as ending,
        ):
            ending.callback(start.on_answered)
            response = send(
                request,
                client=self.client,
                deadline_seconds=deployment.timeout_seconds + start.seconds_left,
                max_bytes=response_limit(ticket.image_count),
                on_sent=start.on_sent,
                before_send=start.before_send,
            )
        failpoint("generate.answered")
        return response, lambda answered: provider.parse(answered, ticket.image_count)

    def _with_inputs(self, ticket: CallTicket, asked: ImageRequest, deployment: Deployment) -> Call:
        """The call as a provider takes it, with its input images in memory."""
        images, mask = self.inputs.load(ticket.job_id, asked)
        return Call(
            prompt=asked.prompt,
            operation=asked.operation,
            image_count=ticket.image_count,
            shape=asked.shape,
            output_format=asked.output_format,
            options=asked.options,
            input_images=images,
            mask=mask,
            callback_url=self.callback_url(ticket.attempt_id) if deployment.callbacks else None,
        )
