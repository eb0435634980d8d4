"""A body that can be sent for each submit route of every dialect, made from the examples of the dialect."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, cast

from imagequeue.dialects.dialect import BodyKind, Dialect, DialectRoute
from imagequeue.dialects.registry import DIALECTS
from imagequeue.domain.catalog import Catalog
from imagequeue.domain.catalog_file import parse_catalog
from imagequeue.providers.registry import PROVIDERS
from tests.builders import MODEL
from tests.dialects.examples import Example, dialect_named, examples
from tests.media.pictures import picture

EVERYWHERE = ("foundry", "openai", "aiml", "omixa", "openrouter", "pixazo")


def catalog_of_all() -> Catalog:
    """The tests' models, each served by every provider: whatever an example asks for, one of them takes."""
    models = [
        {
            "id": MODEL,
            "aliases": ["microsoft/mai-image-2.5", "MAI-Image-2.5"],
            "operations": ["generate", "edit"],
            "price_usd": "0.039",
        },
        {"id": "microsoft-mai-image-2", "price_usd": "0.02"},
    ]
    deployments = [
        {
            "name": f"{provider}-{number}",
            "model": model["id"],
            "provider": provider,
            "upstream_model": "mai-image-2-5",
            "endpoint": "http://127.0.0.1:9",
            "key_env": "TEST_KEY",
            "rpm": 1000,
        }
        for number, model in enumerate(models)
        for provider in EVERYWHERE
    ]
    return parse_catalog(
        {"models": models, "deployments": deployments}, {"TEST_KEY": "upstream-key"}, PROVIDERS
    )


BOUNDARY = "between-the-parts"
PICTURE = picture()
NO_PICTURE = b"just text"


@dataclass(frozen=True)
class Submit:
    """One submit route with one kind of body. `fields` are those of its JSON, or the texts of its form."""

    dialect: Dialect
    route: DialectRoute
    kind: BodyKind
    path: str
    fields: dict[str, Any]
    files: dict[str, list[bytes]] = field(default_factory=dict[str, list[bytes]])

    def __str__(self) -> str:
        return f"{self.kind} {self.route.path}"

    @property
    def content_type(self) -> str:
        return "application/json" if self.kind == "json" else f"multipart/form-data; boundary={BOUNDARY}"

    @property
    def image_count(self) -> int:
        return sum(map(len, self.files.values())) + json.dumps(self.fields).count("data:image/")

    def body(self, **changed: Any) -> bytes:
        """The body with some fields changed."""
        fields = {**self.fields, **changed}
        return json.dumps(fields).encode() if self.kind == "json" else form(fields, self.files)

    def with_images(self, *images: bytes) -> bytes:
        """The body with other images: as many as there are, or all the last one."""
        left = list(images)

        def following() -> bytes:
            return left.pop(0) if len(left) > 1 else left[0]

        if self.kind == "form":
            files = {name: [following() for _ in given] for name, given in self.files.items()}
            return form(self.fields, files)
        return json.dumps(_with_data_urls(self.fields, following)).encode()


def form(fields: Mapping[str, Any], files: Mapping[str, list[bytes]], *, end: bool = True) -> bytes:
    """A multipart form; `end` is false where it breaks off."""
    parts = [part(f'name="{name}"', _text(value)) for name, value in fields.items()]
    parts += [
        part(f'name="{name}"; filename="{name}.png"', content)
        for name, given in files.items()
        for content in given
    ]
    return b"".join(parts) + (f"--{BOUNDARY}--\r\n".encode() if end else b"")


def part(disposition: str, content: bytes) -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n"
    return head.encode("utf-8", "surrogatepass") + content + b"\r\n"


def _text(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


def submits() -> list[Submit]:
    """One for each submit route and kind of body; and one with images where it takes any."""
    read = [_sendable(example) for example in examples("submit") if "request" in example.expects]
    return [found for dialect, route in DIALECTS.routes() for found in _of_route(dialect, route, read)]


def _of_route(dialect: Dialect, route: DialectRoute, read: list[Submit]) -> Iterator[Submit]:
    if route.verb != "submit":
        return
    for kind in route.bodies:
        found = [one for one in read if (one.dialect, one.route, one.kind) == (dialect, route, kind)]
        assert found, f"{dialect.name} has no example of {route.path} as {kind}"
        with_images = [one for one in found if one.image_count]
        yield from with_images[:1]
        yield from [one for one in found if not one.image_count][:1]


def _sendable(example: Example) -> Submit:
    """The example with real images in place of its texts and URLs."""
    dialect, route = dialect_named(example.dialect), example.request().route
    if example.form is None:
        fields = _with_data_urls(deepcopy(example.body or {}), lambda: PICTURE)
        return Submit(dialect, route, "json", example.path, cast("dict[str, Any]", fields))
    files = {name: [PICTURE] * len(given) for name, given in example.form.get("files", {}).items()}
    return Submit(dialect, route, "form", example.path, example.form["fields"], files)


def _with_data_urls(value: Any, image: Any) -> Any:
    """JSON with an image in place of each text that is the URL of one."""
    match value:
        case dict():
            items = cast("dict[str, Any]", value).items()
            return {name: _with_data_urls(one, image) for name, one in items}
        case list():
            return [_with_data_urls(one, image) for one in cast("list[Any]", value)]
        case str() if value.startswith(("data:", "http://", "https://")):
            return f"data:image/png;base64,{base64.b64encode(image()).decode()}"
        case _:
            return value
