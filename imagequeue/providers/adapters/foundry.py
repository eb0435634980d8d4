"""Microsoft Foundry: MAI image models, one PNG per call, sizes in pixels, edits as multipart forms.

Source: the Foundry document, "API endpoints" and "Request parameters". The limits of sizes are the catalog's,
where it has some (`foundry_sizes`). `upstream_model` is the name of the
deployment in the Azure resource, `endpoint` the resource's address.
"""

from __future__ import annotations

import httpx

from imagequeue.domain.catalog import Deployment
from imagequeue.domain.images import Requirement
from imagequeue.domain.upstream import Images, Pending
from imagequeue.providers.addresses import joined
from imagequeue.providers.foundry_sizes import SQUARE, limits_of, size_for
from imagequeue.providers.provider import Call, Provider
from imagequeue.providers.request_body import json_request
from imagequeue.providers.response import UpstreamResponse
from imagequeue.providers.success import images_of

LONGEST_PROMPT = 32_000
"""Characters. The document has 32,000 tokens, and a character is hardly ever more than one token."""


class Foundry:
    """The adapter to MAI image models in Microsoft Foundry."""

    def refusal(self, requirement: Requirement, deployment: Deployment) -> str | None:
        if requirement.prompt_limit > LONGEST_PROMPT:
            return f"Foundry takes prompts of at most {LONGEST_PROMPT} characters"
        edit = requirement.operation == "edit"
        return _edit_refusal(requirement) if edit else _size_refusal(requirement, deployment)

    def images_per_call(self, requirement: Requirement, deployment: Deployment) -> int:
        del requirement, deployment
        return 1  # the request has no field for a number of images

    def build(self, call: Call, deployment: Deployment, secret: str) -> httpx.Request:
        headers = _credentials(deployment, secret)
        if call.operation == "edit":
            return _edit(call, deployment, headers)
        width, height = size_for(call.shape, limits_of(deployment)) or SQUARE
        fields = {"model": deployment.upstream_model, "prompt": call.prompt, "width": width, "height": height}
        url = joined(deployment.endpoint, "/mai/v1/images/generations")
        return json_request(url, headers, fields)

    def parse(self, response: UpstreamResponse, image_count: int) -> Images | Pending:
        return images_of(response, image_count)


PROVIDER: Provider = Foundry()


def _size_refusal(requirement: Requirement, deployment: Deployment) -> str | None:
    if requirement.input_count or requirement.has_mask:
        return "Foundry takes no input image for a generation"
    limits = limits_of(deployment)
    if size_for(requirement.shape, limits) is None:
        return (
            f"Foundry has no size for {requirement.shape}: both sides must be at least "
            f"{limits.shortest_side} pixels and their product at most {limits.most_pixels}"
        )
    return None


def _edit_refusal(requirement: Requirement) -> str | None:
    if requirement.has_mask:
        return "Foundry takes no mask"
    if requirement.input_count != 1:
        return "Foundry edits exactly one image"
    if str(requirement.shape) != "auto":
        return "Foundry edits take no size: the shape must be auto"
    return None


def _credentials(deployment: Deployment, secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"} if deployment.auth == "entra" else {"api-key": secret}


def _edit(call: Call, deployment: Deployment, headers: dict[str, str]) -> httpx.Request:
    return httpx.Request(
        "POST",
        joined(deployment.endpoint, "/mai/v1/images/edits"),
        headers=headers,
        data={"model": deployment.upstream_model, "prompt": call.prompt},
        files=[
            ("image", (image.filename, image.content, image.media_type)) for image in call.input_images[:1]
        ],
    )
