"""OpenRouter: a chat completion with the image modality, one image per call, several input images.

Source: the OpenRouter document, and docs/design/protocols.md, "The upstreams": `image_config.aspect_ratio`
takes every ratio, images come in `message.images` as data URLs, `message.content` may be null. An error may
also come with status 200, in the body or in a choice. The cost is `usage.cost`. `endpoint` is
`https://openrouter.ai`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx

from imagequeue.domain.catalog import Deployment
from imagequeue.domain.images import Requirement
from imagequeue.domain.upstream import Images, Pending, RawImage, Rejected
from imagequeue.providers.addresses import joined
from imagequeue.providers.answers import judged, require_success
from imagequeue.providers.error_body import error_body_in
from imagequeue.providers.options import TOKEN_OPTIONS, present
from imagequeue.providers.pictures import collected, data_url, image_at
from imagequeue.providers.provider import Call, Provider
from imagequeue.providers.response import UpstreamResponse
from imagequeue.providers.values import items, mapping, usd

LONGEST_PROMPT = 5_000
"""Characters. The document gives the model a context of 4K tokens."""
_REFUSAL_LENGTH = 500
"""Characters of a refusal that clients are shown: an upstream may say any length of text."""


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
        return httpx.Request("POST", url, headers={"Authorization": f"Bearer {secret}"}, json=fields)

    def parse(self, response: UpstreamResponse, image_count: int) -> Images | Pending:
        require_success(response)
        body = mapping(response.json())
        choices = [mapping(choice) for choice in items(body.get("choices"))]
        _raise_error(response, [body, *choices])
        images = [image for choice in choices for image in _images(choice)]
        if not images:
            _raise_refusal(choices)
        return collected(images, image_count, usd(mapping(body.get("usage")).get("cost")))


PROVIDER: Provider = OpenRouter()


def _content(call: Call) -> str | list[dict[str, Any]]:
    if not call.input_images:
        return call.prompt
    images = [{"type": "image_url", "image_url": {"url": data_url(image)}} for image in call.input_images]
    return [{"type": "text", "text": call.prompt}, *images]


def _images(choice: dict[str, Any]) -> list[RawImage]:
    entries = items(mapping(choice.get("message")).get("images"))
    links = [mapping(mapping(entry).get("image_url")).get("url") for entry in entries]
    return [image_at(link) for link in links if isinstance(link, str)]


def _raise_error(response: UpstreamResponse, places: list[dict[str, Any]]) -> None:
    """Raise the first error in an answer of status 200. Its `code` is an HTTP status, and decides."""
    for place in places:
        error = mapping(place.get("error"))
        if error:
            code = error.get("code")
            status = code if isinstance(code, int) and 400 <= code < 600 else 500  # noqa: PLR2004
            raise judged(replace(response, status=status), error_body_in(place))


def _raise_refusal(choices: list[dict[str, Any]]) -> None:
    """Raise when the model, or the content filter, refused to make an image."""
    for choice in choices:
        refusal = mapping(choice.get("message")).get("refusal")
        if isinstance(refusal, str) and refusal:
            raise Rejected(" ".join(refusal.split())[:_REFUSAL_LENGTH], http_status=200, policy=True)
        if choice.get("finish_reason") == "content_filter":
            raise Rejected("The upstream's content filter stopped the image", http_status=200, policy=True)
