"""Pixazo: submit, then poll. Up to four images per call, ratios, edits of exactly one image.

Source: the Pixazo document. `endpoint` is `https://gateway.pixazo.ai`; the adapter appends `-edit` to
`upstream_model` itself. The polling URL is built from the endpoint, because an answer must not decide where
the key is sent. The status FAILED means that the request was refused, ERROR that the upstream itself failed.
`X-Webhook-URL` asks for an upstream callback, whose body is the final status body ("Webhook (Optional)").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import httpx

from imagequeue.domain.catalog import Deployment
from imagequeue.domain.images import Requirement
from imagequeue.domain.upstream import Images, Misconfigured, Pending, Rejected, Unavailable
from imagequeue.providers.addresses import joined
from imagequeue.providers.answers import judged, require_success
from imagequeue.providers.error_body import error_body_in, error_body_of
from imagequeue.providers.found_images import body_of, images_in
from imagequeue.providers.hints import clamped, retry_after_seconds
from imagequeue.providers.options import accepted
from imagequeue.providers.pictures import data_url
from imagequeue.providers.provider import Call, CallbackProvider
from imagequeue.providers.ratios import ratio_among, ratio_refusal
from imagequeue.providers.request_body import json_request
from imagequeue.providers.response import UpstreamResponse
from imagequeue.providers.success import images_of
from imagequeue.providers.values import mapping

# The limits are the document's; prompts are counted in characters.
GENERATE_RATIOS = ("21:9", "16:9", "3:2", "4:3", "5:4", "1:1", "4:5", "3:4", "2:3", "9:16")
EDIT_RATIOS = ("1:1", "4:3", "3:4", "16:9", "9:16", "3:2", "2:3")
MOST_IMAGES = 4
LONGEST_PROMPT = 5_000
SHORTEST_PROMPT = 3
POLL_SECONDS = 5.0
""""Poll every 5-10 seconds" (the document, "Typical Workflow")."""
PATIENT_POLL_SECONDS = 10.0
"""After an outage, a 429 or an unknown status: the longer end of the document's range."""
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
"""What may stand in the path of a poll: no slash, no escape."""


class Pixazo:
    """The adapter to Pixazo's gateway."""

    def refusal(self, requirement: Requirement, deployment: Deployment) -> str | None:
        del deployment
        if not SHORTEST_PROMPT <= requirement.prompt_limit <= LONGEST_PROMPT:
            return f"Pixazo takes prompts of {SHORTEST_PROMPT} to {LONGEST_PROMPT} characters"
        if requirement.has_mask:
            return "Pixazo takes no mask"
        edit = requirement.operation == "edit"
        if requirement.input_count != (1 if edit else 0):
            return "Pixazo edits exactly one image, and takes none for a generation"
        return ratio_refusal("Pixazo", requirement.shape, EDIT_RATIOS if edit else GENERATE_RATIOS)

    def images_per_call(self, requirement: Requirement, deployment: Deployment) -> int:
        del requirement, deployment
        return MOST_IMAGES

    def build(self, call: Call, deployment: Deployment, secret: str) -> httpx.Request:
        edit = call.operation == "edit"
        model = f"{deployment.upstream_model}-edit" if edit else deployment.upstream_model
        fields: dict[str, Any] = {
            "prompt": call.prompt,
            "num_images": call.image_count,
            "aspect_ratio": ratio_among(call.shape, EDIT_RATIOS if edit else GENERATE_RATIOS) or "auto",
            "output_format": call.output_format,
            "sync_mode": False,
        }
        if edit:
            fields["image_urls"] = [data_url(image) for image in call.input_images[:1]]
        fields = accepted(fields, deployment)
        url = joined(deployment.endpoint, f"/{model}/v1/{model}-request")
        callback = {"X-Webhook-URL": call.callback_url} if call.callback_url else {}
        return json_request(url, _headers(secret) | callback, fields)

    def parse(self, response: UpstreamResponse, image_count: int) -> Images | Pending:
        require_success(response)
        body = mapping(body_of(response))
        reference = _reference(body)
        if reference is None:  # nothing to poll for: what there is must be in this answer
            return images_of(response, image_count)
        return _result(response, body, reference, image_count)

    def build_poll(self, reference: str, deployment: Deployment, secret: str) -> httpx.Request:
        url = joined(deployment.endpoint, f"/v2/requests/status/{reference}")
        return httpx.Request("GET", url, headers=_headers(secret))

    def parse_poll(self, response: UpstreamResponse, reference: str, image_count: int) -> Images | Pending:
        if not 200 <= response.status < 300:  # noqa: PLR2004
            return _asked_again(response, reference)
        try:
            body = body_of(response)
        except Unavailable:
            return Pending(reference, PATIENT_POLL_SECONDS)
        return _result(response, body, reference, image_count)

    def parse_callback(self, body: Mapping[str, Any]) -> str | None:
        return _reference(body)


PROVIDER: CallbackProvider = Pixazo()


def _headers(secret: str) -> dict[str, str]:
    return {"Ocp-Apim-Subscription-Key": secret, "Cache-Control": "no-cache"}


def _reference(body: Mapping[str, Any]) -> str | None:
    """The request's id in a body; None unless it may stand in the path of a poll."""
    reference = body.get("request_id")
    return reference if isinstance(reference, str) and _REFERENCE.fullmatch(reference) else None


def _result(response: UpstreamResponse, body: Any, reference: str, image_count: int) -> Images | Pending:
    """What a status body says. Without a known status the next poll may say more, unless there are images."""
    status = mapping(body).get("status")
    match status.upper() if isinstance(status, str) else None:
        case "COMPLETED":
            return images_of(response, image_count)
        case "FAILED":
            error_body = error_body_in(body)
            raise Rejected(error_body.for_clients(), policy=error_body.about_policy)
        case "ERROR":
            raise Unavailable("the upstream's job ended with ERROR")
        case "QUEUED" | "PROCESSING":
            return Pending(reference, POLL_SECONDS)
        case _:
            has_images = next(images_in(body, response.url), None) is not None
            return (
                images_of(response, image_count) if has_images else Pending(reference, PATIENT_POLL_SECONDS)
            )


def _asked_again(response: UpstreamResponse, reference: str) -> Pending:
    """A poll that met an outage, a 429, a firewall or another stranger says nothing about the request.

    Raises:
        Misconfigured: our key is wrong.
        Unavailable: the upstream has no such request.
    """
    error = judged(response, error_body_of(response))
    if isinstance(error, Misconfigured) and response.status != 404:  # noqa: PLR2004
        raise error
    if isinstance(error, Misconfigured | Rejected):
        raise Unavailable("the upstream does not know the request any more", http_status=response.status)
    return Pending(reference, max(clamped(retry_after_seconds(response)) or 0.0, PATIENT_POLL_SECONDS))
