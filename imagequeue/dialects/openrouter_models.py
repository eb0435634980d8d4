"""The models of the catalog as OpenRouter lists them: for chats, and for the images endpoint.

Clients know a model by OpenRouter's name, `author/name`, so `id` is the first alias of that form. Prices are
those of an image that is made, in USD; tokens cost nothing.
"""

from __future__ import annotations

from typing import Any

from imagequeue.dialects.fields import AnswerFields
from imagequeue.dialects.openrouter import MOST_IMAGES
from imagequeue.domain.catalog import Model
from imagequeue.domain.money import plain

CONTEXT_TOKENS = 32_000
"""Tokens of the longest prompt that an upstream takes."""

CHAT_PARAMETERS = ("max_completion_tokens", "max_tokens", "temperature", "seed", "top_p", "top_k")
"""What a chat may say, by the names of OpenRouter."""

RATIOS = ("auto", "21:9", "16:9", "3:2", "4:3", "5:4", "1:1", "4:5", "3:4", "2:3", "9:16")
"""The ratios that some upstream takes; the others are refused when a job is submitted."""

IMAGE_PARAMETERS: dict[str, dict[str, Any]] = {
    "n": {"type": "range", "min": 1, "max": 10},
    "aspect_ratio": {"type": "enum", "values": list(RATIOS)},
    "resolution": {"type": "enum", "values": ["512", "1K", "2K", "4K"]},
    "quality": {"type": "enum", "values": ["auto", "low", "medium", "high"]},
    "background": {"type": "enum", "values": ["auto", "transparent", "opaque"]},
    "output_format": {"type": "enum", "values": ["png", "jpeg", "webp"]},
    "output_compression": {"type": "range", "min": 0, "max": 100},
    "seed": {"type": "boolean"},
}
"""What a request for images may say, with its values."""


class Architecture(AnswerFields):
    """What goes in and comes out."""

    input_modalities: list[str]
    output_modalities: list[str]


class ChatModel(AnswerFields):
    """A model of the list for chats."""

    id: str
    canonical_slug: str
    name: str
    description: str
    created: int
    context_length: int
    architecture: Architecture
    pricing: dict[str, str]
    supported_parameters: list[str]


class ChatModelList(AnswerFields):
    """The models for chats."""

    data: list[ChatModel]


class ImagePrice(AnswerFields):
    """What one unit costs, in USD."""

    billable: str
    unit: str
    cost_usd: float


class ImageModel(AnswerFields):
    """A model of the list for images."""

    id: str
    name: str
    description: str
    created: int
    architecture: Architecture
    supported_parameters: dict[str, dict[str, Any]]
    supports_streaming: bool
    pricing: list[ImagePrice]


class ImageModelList(AnswerFields):
    """The models for images."""

    data: list[ImageModel]


def chat_model(model: Model) -> dict[str, Any]:
    """An entry of the list for chats."""
    return _named(model) | {
        "canonical_slug": model.id,
        "context_length": CONTEXT_TOKENS,
        "pricing": {"prompt": "0", "completion": "0", "image_output": plain(model.price_usd)},
        "supported_parameters": list(CHAT_PARAMETERS),
        "top_provider": {
            "context_length": CONTEXT_TOKENS,
            "max_completion_tokens": None,
            "is_moderated": True,
        },
        "per_request_limits": None,
        "default_parameters": None,
    }


def image_model(model: Model) -> dict[str, Any]:
    """An entry of the list for images."""
    parameters = dict(IMAGE_PARAMETERS)
    if "edit" in model.operations:
        parameters["input_references"] = {"type": "range", "min": 0, "max": MOST_IMAGES}
    price = {"billable": "output_image", "unit": "image", "cost_usd": float(model.price_usd)}
    return _named(model) | {
        "supported_parameters": parameters,
        "supports_streaming": True,
        "pricing": [price],
    }


def _named(model: Model) -> dict[str, Any]:
    takes = ["text", "image"] if "edit" in model.operations else ["text"]
    plain_names = [alias for alias in model.aliases if "/" not in alias]
    return {
        "id": next((alias for alias in model.aliases if "/" in alias), model.id),
        "name": plain_names[0] if plain_names else model.id,
        "description": "",
        "created": 0,
        "architecture": {"input_modalities": takes, "output_modalities": ["image"]},
    }
