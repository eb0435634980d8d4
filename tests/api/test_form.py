"""Multipart forms are read strictly: what is not whole, or larger than it may be, is refused by name."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as some

from api.form import MOST_FILES, MOST_PARTS, MOST_TEXT_BYTES, boundary_of, read_form
from imagequeue.dialects.dialect import SubmittedBody
from imagequeue.domain.errors import InvalidRequest
from imagequeue.media.inputs import MOST_INPUT_BYTES

BOUNDARY = b"a-boundary-of-some-length"
NAMES = some.text(
    some.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\'), min_size=1, max_size=20
)
"""How a quote is written in a name is left to clients."""
TEXTS = some.dictionaries(
    NAMES, some.text(some.characters(exclude_categories=["Cs"]), max_size=200), max_size=5
)


def part(name: str, content: bytes, more: str = "", *headers: str) -> bytes:
    lines = [f'Content-Disposition: form-data; name="{name}"{more}', *headers]
    return b"--" + BOUNDARY + b"\r\n" + "\r\n".join(lines).encode() + b"\r\n\r\n" + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--" + BOUNDARY + b"--\r\n"


def file(name: str, content: bytes) -> bytes:
    return part(name, content, '; filename="a.png"', "Content-Type: image/png")


@given(TEXTS, some.lists(some.binary(max_size=500), min_size=1, max_size=4))
def test_what_a_client_library_writes_is_read_as_it_was_meant(
    texts: dict[str, str], files: list[bytes]
) -> None:
    given_files = [("[files]", ("an image.png", content, "image/png")) for content in files]
    request = httpx.Request("POST", "https://a.example", data=texts, files=given_files)
    read = read_form(request.read(), boundary_of(request.headers["content-type"]))
    assert read == SubmittedBody("form", texts, {"[files]": tuple(files)})


def test_files_of_one_field_keep_their_order() -> None:
    body = form(file("image", b"one"), part("text", b"in between"), file("image", b"two"))
    assert read_form(body, BOUNDARY) == SubmittedBody(
        "form", {"text": "in between"}, {"image": (b"one", b"two")}
    )


def test_content_may_look_like_the_end() -> None:
    tricky = b"\r\n--" + BOUNDARY[:-1] + b"\r\n--\r\n\r\n"
    assert read_form(form(file("image", tricky)), BOUNDARY).files == {"image": (tricky,)}


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "breaks off"),
    "no form": (lambda: b'{"prompt": "a fox"}', "not a valid form"),
    "another boundary": (
        lambda: form(part("a", b"1")).replace(BOUNDARY, b"x" * len(BOUNDARY)),
        "not a valid",
    ),
    "half a file": (lambda: file("image", b"x" * 1000)[:600], "breaks off"),
    "no end": (lambda: part("a", b"1"), "breaks off"),
    "an end without its dashes": (lambda: form(part("a", b"1"))[:-4], "breaks off"),
    "a part without a name": (
        lambda: form(b"--" + BOUNDARY + b"\r\nContent-Disposition: form-data\r\n\r\n1\r\n"),
        "has no name",
    ),
    "a part with an empty name": (lambda: form(part("", b"1")), "has no name"),
    "no disposition": (lambda: form(b"--" + BOUNDARY + b"\r\nA: b\r\n\r\n1\r\n"), "has no name"),
    "an attachment": (
        lambda: form(b"--" + BOUNDARY + b'\r\nContent-Disposition: attachment; name="a"\r\n\r\n1\r\n'),
        "has no name",
    ),
    "a header that is none": (lambda: form(b"--" + BOUNDARY + b"\r\nA b\r\n\r\n1\r\n"), "not a valid form"),
    "a name that is no text": (lambda: form(part("a", b"1")).replace(b'"a"', b'"\xff"'), "not UTF-8"),
    "text that is no text": (lambda: form(part("prompt", b"\xff\xfe")), "prompt is not UTF-8"),
    "text twice": (lambda: form(part("n", b"1"), part("n", b"2")), "n was given more than once"),
    "text and file": (lambda: form(part("a", b"1"), file("a", b"2")), "a was given as text and as a file"),
    "file and text": (lambda: form(file("a", b"2"), part("a", b"1")), "a was given more than once"),
    "long text": (
        lambda: form(part("prompt", b"x" * (MOST_TEXT_BYTES + 1))),
        "prompt: the text has more than",
    ),
    "large file": (
        lambda: form(file("image", bytes(MOST_INPUT_BYTES + 1))),
        "image: the file has more than 20 MiB",
    ),
    "many files": (lambda: form(*[file("image", b"1")] * (MOST_FILES + 1)), "more than 17 files"),
    "many parts": (lambda: form(*[part(f"f{n}", b"1") for n in range(MOST_PARTS + 1)]), "more than 64 parts"),
    "a boundary that is everywhere": (
        lambda: form(file("image", (b"\r\n--" + BOUNDARY + b"x") * 10_000)),
        "64 parts",
    ),
    "many headers": (lambda: form(part("a", b"1", "", *["A: b"] * 100)), "not a valid form"),
    "a long header": (lambda: form(part("a", b"1", "", "A: " + "b" * 10_000)), "not a valid form"),
    "base64": (
        lambda: form(part("a", b"MQ==", "", "Content-Transfer-Encoding: base64")),
        "Content-Transfer-Encoding is not supported",
    ),
}


@pytest.mark.parametrize(("made", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_a_form_that_is_not_whole_or_too_large_is_refused(made: Callable[[], bytes], told: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        read_form(made(), BOUNDARY)
    assert told in raised.value.message
    assert len(raised.value.message) < 200


@pytest.mark.parametrize("length", [MOST_PARTS - 1, MOST_PARTS], ids=["one below the limit", "at the limit"])
def test_the_limit_of_parts_is_inclusive(length: int) -> None:
    body = form(*[part(f"f{number}", b"1") for number in range(length)])
    assert len(read_form(body, BOUNDARY).fields) == length


@given(some.binary(max_size=300))
def test_no_bytes_break_the_reader(noise: bytes) -> None:
    for body in (noise, b"--" + BOUNDARY + b"\r\n" + noise, form(file("image", noise), part("a", noise))):
        try:
            read = read_form(body, BOUNDARY)
        except InvalidRequest:
            continue
        assert isinstance(read, SubmittedBody)


@pytest.mark.parametrize(
    "given_type", ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; a=b"]
)
def test_a_form_must_say_what_stands_between_its_parts(given_type: str) -> None:
    with pytest.raises(InvalidRequest, match="boundary"):
        boundary_of(given_type)


def test_a_boundary_that_is_too_long_is_refused() -> None:
    long = b"b" * 300
    with pytest.raises(InvalidRequest, match="not a valid form"):
        read_form(form(part("a", b"1")).replace(BOUNDARY, long), long)
