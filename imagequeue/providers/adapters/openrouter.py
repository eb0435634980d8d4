"""OpenRouter: a chat completion with the image modality, one image per call, several input images.

Source: the OpenRouter document, and docs/design/protocols.md, "The upstreams": `image_config.aspect_ratio`
takes every ratio, images come in `message.images` as data URLs, `message.content` may be null. An error may
also come with status 200, in the body or in a choice. The cost is `usage.cost`. `endpoint` is
`https://openrouter.ai`.
"""

from __future__ import annotations

from typing import Any

import httpx

from imagequeue.domain.catalog import Deployment
from imagequeue.domain.images import Requirement
from imagequeue.domain.upstream import Images, Pending
from imagequeue.providers.addresses import joined
from imagequeue.providers.options import TOKEN_OPTIONS, accepted, present
from imagequeue.providers.pictures import data_url
from imagequeue.providers.provider import Call, Provider
from imagequeue.providers.response import UpstreamResponse
from imagequeue.providers.success import images_of

LONGEST_PROMPT = 5_000
"""Characters. The document gives the model a context of 4K tokens."""


class OpenRouter:
    """The adapter to OpenRouter."""

    def refusal(self, requirement: Requirement, deployment: Deployment) -> str | None:
        del deployment
        if requirement.shape.size:
            return f"OpenRouter takes aspect ratios, not sizes such as {requirement.shape}"
        if requirement.has_mask:
            return "OpenRouter takes no mask"
        if (requirement.operation == "edit") != bool(requirement.input_count):
            return "OpenRouter edits need an input image, and generations take none"
        if requirement.prompt_limit > LONGEST_PROMPT:
            return f"OpenRouter takes prompts of at most {LONGEST_PROMPT} characters"
        return None

    def images_per_call(self, requirement: Requirement) -> int:
        del requirement
        return 1  # the request has no field for a number of images

    def build(self, call: Call, deployment: Deployment, secret: str) -> httpx.Request:
        fields: dict[str, Any] = {
            "model": deployment.upstream_model,
            "messages": [{"role": "user", "content": _content(call)}],
            "modalities": ["image", "text"],
            **present(call.options, TOKEN_OPTIONS),
        }
        if call.shape.ratio:
            fields["image_config"] = {"aspect_ratio": str(call.shape)}
        url = joined(deployment.endpoint, "/api/v1/chat/completions")
        return httpx.Request(
            "POST", url, headers={"Authorization": f"Bearer {secret}"}, json=accepted(fields, deployment)
        )

    def parse(self, response: UpstreamResponse, image_count: int) -> Images | Pending:
        return images_of(response, image_count, cost_at=("usage", "cost"))


PROVIDER: Provider = OpenRouter()


def _content(call: Call) -> str | list[dict[str, Any]]:
    if not call.input_images:
        return call.prompt
    images = [{"type": "image_url", "image_url": {"url": data_url(image)}} for image in call.input_images]
    return [{"type": "text", "text": call.prompt}, *images]
