"""OpenAI images: up to ten images per call, three sizes, edits as multipart forms with a mask.

Source: OpenAI's API reference, "Create image" and "Create image edit", for the GPT image models, which always
answer with base64. The answer does not say what it cost. `endpoint` is `https://api.openai.com`.
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
from imagequeue.providers.provider import Call, Provider
from imagequeue.providers.request_body import json_request
from imagequeue.providers.response import UpstreamResponse
from imagequeue.providers.success import images_of

MOST_IMAGES = 10
"""In one call, by the reference."""
MOST_INPUTS = 16
"""Input images of one edit, by the reference."""
LONGEST_PROMPT = 32_000
"""Characters, by the reference."""
OPTIONS = {
    "quality": ("auto", "low", "medium", "high"),
    "background": ("auto", "transparent", "opaque"),
}
"""The values that the reference has for each option."""
GENERATE_OPTIONS = OPTIONS | {"moderation": ("auto", "low")}
EDIT_OPTIONS = OPTIONS | {"input_fidelity": ("low", "high")}


class OpenAI:
    """The adapter to OpenAI's images API and to services with the same API."""

    def refusal(self, requirement: Requirement, deployment: Deployment) -> str | None:
        del deployment
        if requirement.prompt_limit > LONGEST_PROMPT:
            return f"OpenAI takes prompts of at most {LONGEST_PROMPT} characters"
        edit = requirement.operation == "edit"
        if edit and not 1 <= requirement.input_count <= MOST_INPUTS:
            return f"OpenAI edits take 1 to {MOST_INPUTS} input images"
        if not edit and (requirement.input_count or requirement.has_mask):
            return "OpenAI takes no input image for a generation"
        return size_refusal("OpenAI", requirement.shape)

    def images_per_call(self, requirement: Requirement, deployment: Deployment) -> int:
        del requirement, deployment
        return MOST_IMAGES

    def build(self, call: Call, deployment: Deployment, secret: str) -> httpx.Request:
        headers = {"Authorization": f"Bearer {secret}"}
        fields: dict[str, Any] = {
            "model": deployment.upstream_model,
            "prompt": call.prompt,
            "n": call.image_count,
            "size": size_name(call.shape) or "auto",
            "output_format": call.output_format,
        }
        if call.operation == "edit":
            fields |= among(call.options, EDIT_OPTIONS)
            url = joined(deployment.endpoint, "/v1/images/edits")
            return _edit(call, url, headers, accepted(fields, deployment))
        fields |= among(call.options, GENERATE_OPTIONS)
        url = joined(deployment.endpoint, "/v1/images/generations")
        return json_request(url, headers, accepted(fields, deployment))

    def parse(self, response: UpstreamResponse, image_count: int) -> Images | Pending:
        return images_of(response, image_count)


PROVIDER: Provider = OpenAI()


def _edit(call: Call, url: str, headers: dict[str, str], fields: dict[str, Any]) -> httpx.Request:
    name = "image" if len(call.input_images) == 1 else "image[]"
    files = [(name, (image.filename, image.content, image.media_type)) for image in call.input_images]
    if call.mask:
        files.append(("mask", (call.mask.filename, call.mask.content, call.mask.media_type)))
    form = {key: str(value) for key, value in fields.items()}
    return httpx.Request("POST", url, headers=headers, data=form, files=files)
