"""An image is kept in whatever form it comes that a browser would take: it is paid."""

from __future__ import annotations

import base64
import json
import textwrap
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from imagequeue.domain.catalog import ProviderName
from imagequeue.domain.upstream import Images, RawImage, Unavailable
from imagequeue.providers.pictures import is_image
from imagequeue.providers.provider import PollingProvider
from imagequeue.providers.registry import PROVIDERS
from tests.media.pictures import picture
from tests.providers.recordings import REFERENCE, recorded, response

NAMES = sorted(PROVIDERS)
IMAGE = picture()
B64 = base64.b64encode(IMAGE).decode()
LINK = "https://cdn.example/output.png"
BY_BYTES, BY_LINK = RawImage(content=IMAGE), RawImage(url=LINK)


def taken(name: ProviderName, content: bytes, headers: dict[str, str] | None = None) -> tuple[RawImage, ...]:
    """What the provider makes of a body: of a poll's where its upstream is polled."""
    provider, answer = PROVIDERS[name], response(200, content, headers)
    if isinstance(provider, PollingProvider):
        outcome = provider.parse_poll(answer, REFERENCE, 1)
    else:
        outcome = provider.parse(answer, 1)
    assert isinstance(outcome, Images), outcome
    return outcome.images


def documented(name: ProviderName) -> tuple[str, str]:
    """The documented answer with inline images, and what stands for the image's text in it."""
    try:
        success = recorded(name, "success_inline")
    except FileNotFoundError:
        success = recorded(name, "success")
    return json.dumps(success.body), "<image>"


BASE64_FORMS: dict[str, Callable[[], str]] = {
    "as the document has it": lambda: B64,
    "with line breaks": lambda: "\n".join(textwrap.wrap(B64, 76)),
    "with line breaks of Windows": lambda: "\r\n".join(textwrap.wrap(B64, 64)) + "\r\n",
    "with spaces around": lambda: f"  {B64}\t",
    "without padding": lambda: B64.rstrip("="),
    "in the alphabet for URLs": lambda: B64.replace("+", "-").replace("/", "_"),
    "percent-encoded": lambda: quote(B64, safe=""),
}
WHOLE_FORMS: dict[str, tuple[Any, RawImage]] = {
    "a data URL": (f"data:image/png;base64,{B64}", BY_BYTES),
    "a data URL in capitals": (f"DATA:image/PNG;BASE64,{B64}", BY_BYTES),
    "a data URL with parameters": (f"data:image/png;charset=utf-8;base64, {B64}", BY_BYTES),
    "a data URL without base64": (f"data:image/png,{quote(IMAGE, safe='')}", BY_BYTES),
    "a data URL that forgot to say base64": (f"data:image/png,{B64}", BY_BYTES),
    "a link": (LINK, BY_LINK),
    "a link in capitals": ("HTTPS://cdn.example/output.png", RawImage(url=LINK)),
    "a link with white space": (f" {LINK}\n", BY_LINK),
    "a link with a space in it": (
        "https://cdn.example/a b.png",
        RawImage(url="https://cdn.example/a%20b.png"),
    ),
    "a link without a scheme": ("//cdn.example/output.png", BY_LINK),
    "a relative link": ("/files/o.png", RawImage(url="https://upstream.example/files/o.png")),
    "a relative link beside": (
        "o.png?sig=1",
        RawImage(url="https://upstream.example/v1/answers/o.png?sig=1"),
    ),
}


@pytest.mark.parametrize("form", BASE64_FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_base64_in_every_form_is_kept(name: ProviderName, form: str) -> None:
    body, mark = documented(name)
    text = json.dumps(BASE64_FORMS[form]())[1:-1]
    assert taken(name, body.replace(mark, text).encode()) == (BY_BYTES,)


@pytest.mark.parametrize("name", NAMES)
def test_line_breaks_that_json_does_not_allow_are_no_reason_to_buy_the_image_again(
    name: ProviderName,
) -> None:
    body, mark = documented(name)
    assert taken(name, body.replace(mark, "\n".join(textwrap.wrap(B64, 76))).encode()) == (BY_BYTES,)


def shaped(value: Any) -> dict[str, Any]:
    """Answers that hold the value where images are, in the shapes of upstreams and of their gateways."""
    return {
        "data[].url": {"created": 1, "data": [{"url": value}]},
        "data[].b64_json": {"data": [{"b64_json": value, "url": None}]},
        "data.url": {"data": {"url": value}},
        "data as text": {"data": value},
        "data[] as text": {"data": [value]},
        "url": {"url": value},
        "images[]": {"images": [value]},
        "images[].url": {"images": [{"url": value, "content_type": "image/png"}], "seed": 7},
        "image": {"image": value},
        "image.url": {"image": {"url": value}},
        "output": {
            "id": "p1",
            "status": "succeeded",
            "output": value,
            "urls": {"get": "https://a.example/p1"},
        },
        "output[]": {"status": "succeeded", "output": [value]},
        "output.media_url": {
            "status": "COMPLETED",
            "output": {"media_url": value, "media_type": "image/png"},
        },
        "output.media_url[]": {"status": "Completed", "output": {"media_url": [value]}},
        "media_url": {"status": "COMPLETED", "media_url": value},
        "result": {"output": [{"type": "image_generation_call", "result": value}]},
        "message.images": {
            "choices": [{"message": {"content": None, "images": [{"image_url": {"url": value}}]}}]
        },
        "message.images as text": {"choices": [{"message": {"images": [{"image_url": value}]}}]},
        "message.content": {"choices": [{"message": {"content": value}}]},
        "message.content[]": {
            "choices": [{"message": {"content": [{"type": "image_url", "image_url": {"url": value}}]}}]
        },
        "markdown": {"choices": [{"message": {"content": f"Here it is:\n\n![a lamp]({value})\n"}}]},
        "text": value,
    }


SHAPES = sorted(shaped(""))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_found_in_every_shape(name: ProviderName, shape: str) -> None:
    assert taken(name, json.dumps(shaped(LINK)[shape]).encode()) == (BY_LINK,)
    assert taken(name, json.dumps(shaped(f"data:image/png;base64,{B64}")[shape]).encode()) == (BY_BYTES,)


@pytest.mark.parametrize("form", WHOLE_FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_a_link_or_data_url_in_every_form_is_kept(name: ProviderName, form: str) -> None:
    text, image = WHOLE_FORMS[form]
    for shape in ("data[].url", "output.media_url"):
        assert taken(name, json.dumps(shaped(text)[shape]).encode()) == (image,)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "gif"])
@pytest.mark.parametrize("name", NAMES)
def test_the_image_itself_as_the_body_is_kept(name: ProviderName, kind: str) -> None:
    content = picture(kind)
    assert is_image(content)
    for headers in ({"content-type": f"image/{kind}"}, {"content-type": "application/octet-stream"}, {}):
        assert taken(name, content, headers) == (RawImage(content=content),)


@pytest.mark.parametrize(
    "text",
    [
        LINK,
        f"{LINK}\r\n",
        f"\ufeff{LINK}",
        f"data:image/png;base64,{B64}",
        B64,
        "\n".join(textwrap.wrap(B64, 76)),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_a_link_or_base64_as_plain_text_is_kept(name: ProviderName, text: str) -> None:
    expected = BY_LINK if "http" in text else BY_BYTES
    assert taken(name, text.encode(), {"content-type": "text/plain"}) == (expected,)


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_with_base64_and_a_link_is_one_image(name: ProviderName) -> None:
    both = {"data": [{"b64_json": B64, "url": LINK}]}
    broken = {"data": [{"b64_json": "*" * 9, "url": LINK}]}
    assert taken(name, json.dumps(both).encode()) == (BY_BYTES,)
    assert taken(name, json.dumps(broken).encode()) == (BY_LINK,)


def test_a_broken_image_does_not_spoil_the_others() -> None:
    body = json.dumps(
        {"data": [{"b64_json": "*"}, {"b64_json": B64}, {"url": "mailto:x@y.example"}]}
    ).encode()
    with pytest.raises(Unavailable) as raised:
        PROVIDERS["omixa"].parse(response(200, body), 3)
    assert raised.value.images == (BY_BYTES,)


@pytest.mark.parametrize(
    "link",
    [
        "",
        "pending",
        "null",
        "file:///etc/passwd",
        "ftp://a.example/x.png",
        "javascript:alert(1)",
        "https://",
        "http://[::1",
        "blob:https://a/b",
    ],
)
@pytest.mark.parametrize("name", [name for name in NAMES if name != "pixazo"])
def test_what_leads_to_no_image_is_unavailable(name: ProviderName, link: str) -> None:
    with pytest.raises(Unavailable):
        PROVIDERS[name].parse(response(200, json.dumps({"data": [{"url": link}]}).encode()), 1)


def test_what_an_upstream_says_about_its_own_job_is_no_image() -> None:
    waiting = {
        "id": "p1",
        "status": "starting",
        "urls": {"get": "https://a.example/p1", "cancel": "https://a.example/c"},
    }
    for body in (
        waiting,
        {"status_url": LINK, "response_url": LINK},
        {"error": {"url": LINK}},
        {"thumbnail": LINK},
    ):
        with pytest.raises(Unavailable):
            PROVIDERS["openai"].parse(response(200, json.dumps(body).encode()), 1)
