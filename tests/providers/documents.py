"""What the upstreams' documents take, written down once more, independently of the adapters.

`serves` says which asks an upstream can serve at all (protocols.md, the table), and `check` reads a request
as strictly as the documents: an unknown field, a value out of range or a wrong path fails the test.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx

from imagequeue.domain.catalog import ProviderName
from imagequeue.domain.images import Requirement
from imagequeue.providers.provider import Call

FORMATS = {"png", "jpeg", "webp"}
SEVEN = {"1:1", "4:3", "3:4", "16:9", "9:16", "3:2", "2:3"}
TEN = SEVEN | {"21:9", "5:4", "4:5"}
THREE_SIZES = {"1024x1024", "1024x1536", "1536x1024"}
QUALITIES = {"auto", "low", "medium", "high"}

# provider -> operation -> shapes ("any": every ratio)
SHAPES: dict[ProviderName, dict[str, set[str]]] = {
    "foundry": {"generate": {"auto"} | (TEN - {"21:9"}) | {"1024x1024", "1365x768"}, "edit": {"auto"}},
    "aiml": {"generate": {"auto"} | SEVEN},
    "openrouter": {"generate": {"auto"} | TEN, "edit": {"auto"} | TEN},
    "omixa": dict.fromkeys(("generate", "edit"), {"auto", "1:1", "2:3", "3:2"} | THREE_SIZES),
    "pixazo": {"generate": {"auto"} | TEN, "edit": {"auto"} | SEVEN},
    "openai": dict.fromkeys(("generate", "edit"), {"auto", "1:1", "2:3", "3:2"} | THREE_SIZES),
}
PER_CALL: dict[ProviderName, int] = {
    "foundry": 1,
    "aiml": 1,
    "openrouter": 1,
    "omixa": 10,
    "pixazo": 4,
    "openai": 10,
}
MOST_INPUTS: dict[ProviderName, int] = {
    "foundry": 1,
    "openrouter": 99,
    "omixa": 99,
    "pixazo": 1,
    "openai": 16,
}
PROMPTS: dict[ProviderName, tuple[int, int]] = {
    "foundry": (1, 32_000),
    "aiml": (1, 4_000),
    "openrouter": (1, 5_000),
    "omixa": (1, 1_000_000),
    "pixazo": (3, 5_000),
    "openai": (1, 32_000),
}


def serves(provider: ProviderName, requirement: Requirement) -> bool:
    """Whether the documents let this upstream serve the requirement."""
    shapes = SHAPES[provider].get(requirement.operation, set())
    shortest, longest = PROMPTS[provider]
    inputs = range(1, MOST_INPUTS.get(provider, 0) + 1) if requirement.operation == "edit" else range(1)
    masks = {"omixa", "openai"} if requirement.operation == "edit" else set[str]()
    return (
        str(requirement.shape) in shapes
        and requirement.input_count in inputs
        and (not requirement.has_mask or provider in masks)
        and shortest <= requirement.prompt_limit <= longest
    )


def check(provider: ProviderName, request: httpx.Request, call: Call) -> None:
    """Fail unless the document of the provider takes this request."""
    request.read()
    assert request.extensions == {}
    assert provider == "pixazo" or "x-webhook-url" not in request.headers
    {
        "foundry": _check_foundry,
        "aiml": _check_aiml,
        "openrouter": _check_openrouter,
        "omixa": _check_omixa,
        "pixazo": _check_pixazo,
        "openai": _check_openai,
    }[provider](request, call)


def _check_foundry(request: httpx.Request, call: Call) -> None:
    assert request.headers["api-key"] == "secret"
    if call.operation == "edit":
        assert request.url.path == "/mai/v1/images/edits"
        form = form_of(request)
        assert {name for name, _ in form} == {"model", "prompt", "image"}
        assert len(form) == 3
        return
    assert request.url.path == "/mai/v1/images/generations"
    fields = json.loads(request.content)
    assert fields.keys() == {"model", "prompt", "width", "height"}
    assert min(fields["width"], fields["height"]) >= 768
    assert fields["width"] * fields["height"] <= 1_048_576


def _check_aiml(request: httpx.Request, call: Call) -> None:
    assert request.url.path == "/v1/images/generations"
    assert request.headers["authorization"] == "Bearer secret"
    fields = json.loads(request.content)
    assert fields.keys() <= {"model", "prompt", "aspect_ratio", *TOKENS}
    assert fields["model"] == "microsoft/mai-image-2.5"
    assert fields.get("aspect_ratio", "1:1") in SEVEN
    assert fields.get("aspect_ratio", "auto") == str(call.shape)
    _check_tokens(fields, call)


def _check_openrouter(request: httpx.Request, call: Call) -> None:
    assert request.url.path == "/api/v1/chat/completions"
    assert request.headers["authorization"] == "Bearer secret"
    fields = json.loads(request.content)
    assert fields.keys() <= {"model", "messages", "modalities", "image_config", *TOKENS}
    assert fields["modalities"] == ["image", "text"]
    assert fields.get("image_config", {"aspect_ratio": "auto"}) == {"aspect_ratio": str(call.shape)}
    (message,) = fields["messages"]
    assert message["role"] == "user"
    if call.operation == "generate":
        assert message["content"] == call.prompt
    else:
        text, *images = message["content"]
        assert text == {"type": "text", "text": call.prompt}
        _check_image_parts(images, call)
    _check_tokens(fields, call)


def _check_omixa(request: httpx.Request, call: Call) -> None:
    assert request.url.path == "/api/v1/images/generations"
    assert request.headers["authorization"] == "Bearer secret"
    fields = json.loads(request.content)
    edit = {"input_images", "input_fidelity", "mask"} if call.operation == "edit" else set[str]()
    _check_openai_fields(fields, call, {"moderation"} | edit)
    if call.operation == "edit":
        _check_image_parts(fields["input_images"], call)
        assert ("mask" in fields) == (call.mask is not None)


def _check_pixazo(request: httpx.Request, call: Call) -> None:
    model = "microsoft-mai-image-2-5" + ("-edit" if call.operation == "edit" else "")
    assert request.url.path == f"/{model}/v1/{model}-request"
    assert request.headers["ocp-apim-subscription-key"] == "secret"
    assert request.headers["content-type"] == "application/json"
    assert request.headers.get("x-webhook-url") == call.callback_url
    fields = json.loads(request.content)
    images = fields.pop("image_urls", [])
    assert len(images) == (call.operation == "edit")
    assert fields == {
        "prompt": call.prompt,
        "num_images": call.image_count,
        "aspect_ratio": str(call.shape),
        "output_format": call.output_format,
        "sync_mode": False,
    }
    assert 1 <= fields["num_images"] <= 4
    assert fields["aspect_ratio"] in {"auto"} | (SEVEN if call.operation == "edit" else TEN)


def _check_openai(request: httpx.Request, call: Call) -> None:
    assert request.headers["authorization"] == "Bearer secret"
    if call.operation == "generate":
        assert request.url.path == "/v1/images/generations"
        _check_openai_fields(json.loads(request.content), call, {"moderation"})
        return
    assert request.url.path == "/v1/images/edits"
    form = form_of(request)
    images = [name for name, _ in form if name in {"image", "image[]"}]
    assert images == ["image"] if len(call.input_images) == 1 else ["image[]"] * len(call.input_images)
    assert sum(name == "mask" for name, _ in form) == (call.mask is not None)
    texts: dict[str, Any] = {name: text for name, text in form if name not in {"image", "image[]", "mask"}}
    _check_openai_fields(texts | {"n": int(texts["n"])}, call, {"input_fidelity"})


def _check_openai_fields(fields: dict[str, Any], call: Call, more: set[str]) -> None:
    known = {"model", "prompt", "n", "size", "output_format", "quality", "background"}
    assert fields.keys() <= known | more
    assert fields["n"] == call.image_count <= 10
    assert fields["size"] in THREE_SIZES | {"auto"}
    assert (fields["size"] == "auto") == (str(call.shape) == "auto")
    assert fields["output_format"] == call.output_format
    assert fields.get("quality", "auto") in QUALITIES


TOKENS = ("temperature", "max_tokens", "max_completion_tokens")


def _check_tokens(fields: dict[str, Any], call: Call) -> None:
    assert {name: fields[name] for name in TOKENS if name in fields} == {
        name: call.options[name] for name in TOKENS if name in call.options
    }


def _check_image_parts(parts: list[dict[str, Any]], call: Call) -> None:
    for part, image in zip(parts, call.input_images, strict=True):
        encoded = base64.b64encode(image.content).decode()
        url = f"data:{image.media_type};base64,{encoded}"
        assert part == {"type": "image_url", "image_url": {"url": url}}


def form_of(request: httpx.Request) -> list[tuple[str, str]]:
    """The fields of a multipart request in order; a file's content is its name."""
    boundary = request.headers["content-type"].partition("boundary=")[2].encode()
    parts = request.content.split(b"--" + boundary)[1:-1]
    return [_field(part) for part in parts]


def _field(part: bytes) -> tuple[str, str]:
    head, _, content = part.strip(b"\r\n").partition(b"\r\n\r\n")
    name = head.partition(b'name="')[2].partition(b'"')[0].decode()
    is_file = b"filename=" in head
    return name, head.decode() if is_file else content.decode()
