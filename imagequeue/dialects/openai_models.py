"""The catalog as OpenAI's API lists models, with what this service knows beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

from imagequeue.dialects.dialect import Rendered
from imagequeue.dialects.fields import AnswerFields
from imagequeue.domain.catalog import Model
from imagequeue.domain.errors import NotFound
from imagequeue.domain.money import plain


class ListedModel(AnswerFields):
    """A model; `price_usd` is the price of an image."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    aliases: list[str]
    operations: list[str]
    price_usd: str


class ModelList(AnswerFields):
    """All models that can be asked for."""

    object: Literal["list"]
    data: list[ListedModel]


def listed(models: Sequence[Model]) -> Rendered:
    """The list of models."""
    return Rendered(200, json.dumps({"object": "list", "data": [_entry(model) for model in models]}))


def found(models: Sequence[Model], name: str) -> Rendered:
    """The model with an id or an alias, whatever the case.

    Raises:
        NotFound: there is none.
    """
    wanted = name.casefold()
    for model in models:
        if wanted in {one.casefold() for one in (model.id, *model.aliases)}:
            return Rendered(200, json.dumps(_entry(model)))
    raise NotFound(f"The model '{name[:200]}' does not exist")


def _entry(model: Model) -> dict[str, Any]:
    return {
        "id": model.id,
        "object": "model",
        "created": 0,
        "owned_by": "imagequeue",
        "aliases": list(model.aliases),
        "operations": list(model.operations),
        "price_usd": plain(model.price_usd),
    }
