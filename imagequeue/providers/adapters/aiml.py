"""AI/ML API: one image per call, seven ratios, generation only; the answer says what it cost.

Source: the AIML document, "API Schema". `endpoint` is `https://api.aimlapi.com`.
"""

from __future__ import annotations

from typing import Any

import httpx

from imagequeue.domain.catalog import Deployment
from imagequeue.domain.images import Requirement
from imagequeue.domain.upstream import Images, Pending
from imagequeue.providers.addresses import joined
from imagequeue.providers.options import TOKEN_OPTIONS, accepted, present
from imagequeue.providers.provider import Call, Provider
from imagequeue.providers.ratios import ratio_among, ratio_refusal
from imagequeue.providers.request_body import json_request
from imagequeue.providers.response import UpstreamResponse
from imagequeue.providers.success import images_of

RATIOS = ("1:1", "4:3", "3:4", "16:9", "9:16", "3:2", "2:3")
"""The values of `aspect_ratio`, by the document."""
LONGEST_PROMPT = 4_000
"""Characters, by the document."""


class Aiml:
    """The adapter to AI/ML API."""

    def refusal(self, requirement: Requirement, deployment: Deployment) -> str | None:
        del deployment
        if requirement.operation == "edit" or requirement.input_count or requirement.has_mask:
            return "AIML API does not edit images"
        if requirement.prompt_limit > LONGEST_PROMPT:
            return f"AIML API takes prompts of at most {LONGEST_PROMPT} characters"
        return ratio_refusal("AIML API", requirement.shape, RATIOS)

    def images_per_call(self, requirement: Requirement, deployment: Deployment) -> int:
        del requirement, deployment
        return 1  # the request has no field for a number of images

    def build(self, call: Call, deployment: Deployment, secret: str) -> httpx.Request:
        fields: dict[str, Any] = {"model": deployment.upstream_model, "prompt": call.prompt}
        ratio = ratio_among(call.shape, RATIOS)
        if ratio:  # without one the upstream makes 1:1
            fields["aspect_ratio"] = ratio
        fields |= present(call.options, TOKEN_OPTIONS)
        url = joined(deployment.endpoint, "/v1/images/generations")
        return json_request(url, {"Authorization": f"Bearer {secret}"}, accepted(fields, deployment))

    def parse(self, response: UpstreamResponse, image_count: int) -> Images | Pending:
        return images_of(response, image_count, cost_at=("meta", "usage", "usd_spent"))


PROVIDER: Provider = Aiml()
