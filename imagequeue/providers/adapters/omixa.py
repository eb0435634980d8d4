"""Omixa: up to ten images per call, three sizes, edits with inline images and a mask.

Source: the Omixa document, "Request fields". Prompts may have any length. An answer may hold fewer images
than were asked for ("caps the value by provider limits"); then those that came are used
(`Unavailable.images`). The cost is `usage.billed_amount`. `endpoint` is `http://omixa.cloud`.
"""

from __future__ import annotations

from typing import Any

import httpx

from imagequeue.domain.catalog import Deployment
from imagequeue.domain.images import Requirement
from imagequeue.domain.upstream import Images, Pending
from imagequeue.providers.addresses import joined
from imagequeue.providers.openai_sizes import size_name, size_refusal
from imagequeue.providers.options import accepted, among
from imagequeue.providers.pictures import data_url
from imagequeue.providers.provider import Call, Provider
from imagequeue.providers.request_body import json_request
from imagequeue.providers.response import UpstreamResponse
from imagequeue.providers.success import images_of

MOST_IMAGES = 10
"""In one call, by the document."""
OPTIONS = {
    "quality": ("auto", "low", "medium", "high"),
    "background": ("auto", "transparent", "opaque"),
    "moderation": ("auto", "low"),
}
"""The values that the document has for each option."""


class Omixa:
    """The adapter to Omixa."""

    def refusal(self, requirement: Requirement, deployment: Deployment) -> str | None:
        del deployment
        edit = requirement.operation == "edit"
        if edit and not requirement.input_count:
            return "Omixa edits need an input image"
        if not edit and (requirement.input_count or requirement.has_mask):
            return "Omixa takes no input image for a generation"
        return size_refusal("Omixa", requirement.shape)

    def images_per_call(self, requirement: Requirement, deployment: Deployment) -> int:
        del requirement, deployment
        return MOST_IMAGES

    def build(self, call: Call, deployment: Deployment, secret: str) -> httpx.Request:
        fields: dict[str, Any] = {
            "model": deployment.upstream_model,
            "prompt": call.prompt,
            "n": call.image_count,
            "output_format": call.output_format,
            "size": size_name(call.shape) or "auto",
            **among(call.options, OPTIONS),
        }
        if call.operation == "edit":
            fields |= _edit_fields(call)
        url = joined(deployment.endpoint, "/api/v1/images/generations")
        return json_request(url, {"Authorization": f"Bearer {secret}"}, accepted(fields, deployment))

    def parse(self, response: UpstreamResponse, image_count: int) -> Images | Pending:
        return images_of(response, image_count, cost_at=("usage", "billed_amount"))


PROVIDER: Provider = Omixa()


def _edit_fields(call: Call) -> dict[str, Any]:
    """Input images go as data URLs, because Omixa fetches none."""
    images = [{"type": "image_url", "image_url": {"url": data_url(image)}} for image in call.input_images]
    fields: dict[str, Any] = {"input_images": images}
    fields |= among(call.options, {"input_fidelity": ("auto", "low", "high")})
    return fields | ({"mask": data_url(call.mask)} if call.mask else {})
