"""OpenRouter: chat completions with the image modality, or the images endpoint, as the catalog says.

Source: the OpenRouter document, and docs/design/protocols.md, "The upstreams". In a chat, which is what a
deployment without `api` uses, `image_config.aspect_ratio` takes every ratio, one call makes one image, and
images come in `message.images` as data URLs; `message.content` may be null. The images endpoint also takes
sizes, and up to ten images in a call. Both take several input images. An error may also come with status 200,
in the body or in a choice. The cost is `usage.cost`. `endpoint` is `https://openrouter.ai`.
"""

from __future__ import annotations

from typing import Any

import httpx

from imagequeue.domain.catalog import Deployment
from imagequeue.domain.images import Requirement
from imagequeue.domain.upstream import Images, Pending
from imagequeue.providers.addresses import joined
from imagequeue.providers.options import TOKEN_OPTIONS, accepted, among, present
from imagequeue.providers.pictures import data_url
from imagequeue.providers.provider import Call, Provider
from imagequeue.providers.request_body import json_request
from imagequeue.providers.response import UpstreamResponse
from imagequeue.providers.success import images_of

LONGEST_PROMPT = 5_000
"""Characters. The document gives the model a context of 4K tokens."""
MOST_IMAGES = 10
"""In one call of the images endpoint."""
OPTIONS = {
    "quality": ("auto", "low", "medium", "high"),
    "background": ("auto", "transparent", "opaque"),
}
"""The values that the images endpoint has for each option."""


class OpenRouter:
    """The adapter to OpenRouter."""

    def refusal(self, requirement: Requirement, deployment: Deployment) -> str | None:
        if requirement.shape.size and deployment.api != "images":
            return f"OpenRouter takes aspect ratios, not sizes such as {requirement.shape}"
        if requirement.has_mask:
            return "OpenRouter takes no mask"
        if (requirement.operation == "edit") != bool(requirement.input_count):
            return "OpenRouter edits need an input image, and generations take none"
        if requirement.prompt_limit > LONGEST_PROMPT:
            return f"OpenRouter takes prompts of at most {LONGEST_PROMPT} characters"
        return None

    def images_per_call(self, requirement: Requirement, deployment: Deployment) -> int:
        del requirement
        return MOST_IMAGES if deployment.api == "images" else 1  # a chat has no field for a number of images

    def build(self, call: Call, deployment: Deployment, secret: str) -> httpx.Request:
        images = deployment.api == "images"
        fields = _images_fields(call) if images else _chat_fields(call, deployment)
        fields = {"model": deployment.upstream_model} | accepted(fields, deployment)
        url = joined(deployment.endpoint, "/api/v1/images" if images else "/api/v1/chat/completions")
        return json_request(url, {"Authorization": f"Bearer {secret}"}, fields)

    def parse(self, response: UpstreamResponse, image_count: int) -> Images | Pending:
        return images_of(response, image_count, cost_at=("usage", "cost"))


PROVIDER: Provider = OpenRouter()


def _chat_fields(call: Call, deployment: Deployment) -> dict[str, Any]:
    content = (
        [{"type": "text", "text": call.prompt}, *_image_parts(call)] if call.input_images else call.prompt
    )
    fields: dict[str, Any] = {
        "messages": [{"role": "user", "content": content}],
        "modalities": list(deployment.modalities),
        **present(call.options, TOKEN_OPTIONS),
    }
    return fields | ({"image_config": {"aspect_ratio": str(call.shape)}} if call.shape.ratio else {})


def _images_fields(call: Call) -> dict[str, Any]:
    """What differs from the endpoint's defaults: some models refuse fields that others take."""
    fields: dict[str, Any] = {"prompt": call.prompt, **among(call.options, OPTIONS)}
    if call.image_count > 1:
        fields["n"] = call.image_count
    if call.shape.ratio or call.shape.size:
        fields["aspect_ratio" if call.shape.ratio else "size"] = str(call.shape)
    if call.output_format != "png":
        fields["output_format"] = call.output_format
    return fields | ({"input_references": _image_parts(call)} if call.input_images else {})


def _image_parts(call: Call) -> list[dict[str, Any]]:
    return [{"type": "image_url", "image_url": {"url": data_url(image)}} for image in call.input_images]
