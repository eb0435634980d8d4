"""The query of a route that is no dialect's, read by a model that names what is wrong."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from starlette.datastructures import QueryParams

from imagequeue.dialects.fields import complaint
from imagequeue.domain.errors import InvalidRequest

P = TypeVar("P", bound="Parameters")


def _split(text: Any) -> Any:
    return text.split(",") if isinstance(text, str) else text


COMMAS = BeforeValidator(_split)
"""Marks a parameter whose value is a list with commas between."""


class Parameters(BaseModel):
    """The parameters of a query: their values are text, unknown ones are refused by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def read_parameters(query: QueryParams, model: type[P], repeated: Collection[str] = ()) -> P:
    """Read a query as `model`; of the parameters only `repeated` may be there several times.

    Raises:
        InvalidRequest: names the parameter and what is wrong with it.
    """
    try:
        return model.model_validate(_once_each(query, repeated))
    except ValidationError as error:
        raise complaint(error, "parameter") from None


def _once_each(query: QueryParams, repeated: Collection[str]) -> dict[str, str]:
    """The parameters by name; one that is repeated says the same as its values with commas between them."""
    given: dict[str, str] = {}
    for name, value in query.multi_items():
        if name in given and name not in repeated:
            raise InvalidRequest(f"{name[:100]} was given more than once")
        given[name] = f"{given[name]},{value}" if name in given else value
    return given
