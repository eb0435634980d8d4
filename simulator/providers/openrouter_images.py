"""OpenRouter's images endpoint: `/api/v1/images`, up to ten images a call, edits by `input_references`."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from simulator.images import Format, InputImage
from simulator.providers.inputs import read_data_url
from simulator.providers.openrouter_wire import events, usage
from simulator.providers.provider import Ask, Fields, InvalidAskError, Success, checked
from simulator.shapes import ratio_size, scaled
from simulator.wire import Answer, json_answer

_RATIO = r"^[1-9][0-9]{0,2}:[1-9][0-9]{0,2}$"
_SIZE = r"^(512|1K|2K|4K|[1-9][0-9]{1,3}x[1-9][0-9]{1,3})$"
_SIDES = {"512": 512, "1K": 1024, "2K": 2048, "4K": 4096}


class _Url(Fields):
    url: str


class _Reference(Fields):
    type: Literal["image_url"]
    image_url: _Url


class _Images(Fields):
    model: str
    prompt: Annotated[str, Field(min_length=1)]
    n: Annotated[int, Field(ge=1, le=10)] = 1
    aspect_ratio: Annotated[str, Field(pattern=_RATIO)] | None = None
    resolution: Literal["512", "1K", "2K", "4K"] | None = None
    size: Annotated[str, Field(pattern=_SIZE)] | None = None
    quality: Literal["auto", "low", "medium", "high"] = "auto"
    background: Literal["auto", "transparent", "opaque"] = "auto"
    output_format: Format = "png"
    output_compression: Annotated[int, Field(ge=0, le=100)] = 100
    input_references: list[_Reference] = Field(default_factory=list[_Reference])
    seed: int | None = None
    stream: bool = False


def read_images(values: Mapping[str, Any]) -> Ask:
    """Check every rule of the endpoint; of ratio, resolution and size one at most."""
    fields = checked(_Images, values)
    sources = [
        _source(part.image_url.url, f"input_references.{number}")
        for number, part in enumerate(fields.input_references)
    ]
    source = next((one for one in sources if one), None)
    options = {"image": True, "stream": fields.stream}
    return Ask(fields.prompt, fields.n, _size(fields, source), fields.output_format, source, options=options)


def images_answer(success: Success) -> Answer:
    """Base64 in `data` with its media type; as events one for each image, the last with the usage."""
    images = success.images
    created, spent = int(success.created), usage(success, len(images or ()))
    data = [{"b64_json": image, "media_type": f"image/{success.ask.format}"} for image in images or ()]
    if not success.ask.options["stream"]:
        body: dict[str, Any] = {"created": created, "usage": spent}
        return json_answer(200, body if images is None else {**body, "data": data})
    told = [{"type": "image_generation.completed", "created": created, **entry} for entry in data]
    last = [{**told[-1], "usage": spent}] if told else []
    return events([*map(json.dumps, [*told[:-1], *last]), "[DONE]"])


def _source(url: str, field: str) -> InputImage | None:
    # An http(s) image is accepted by its look: the simulator fetches nothing.
    return None if url.lower().startswith(("http://", "https://")) else read_data_url(url, field)


def _size(fields: _Images, source: InputImage | None) -> tuple[int, int]:
    given = [name for name in ("aspect_ratio", "resolution", "size") if getattr(fields, name) is not None]
    if len(given) > 1:
        raise InvalidAskError(f"{given[0]}: only one of {', '.join(given)} is taken", given[0])
    if fields.aspect_ratio is not None:
        return ratio_size(fields.aspect_ratio)
    named = fields.resolution or fields.size
    if named is None:
        return scaled(source.size) if source else ratio_size("auto")
    if named in _SIDES:
        return _SIDES[named], _SIDES[named]
    width, _, height = named.partition("x")
    return int(width), int(height)
