"""Base64 that comes in slices is what it would be as a whole, wherever a slice ends."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imagequeue.domain.forgiving_base64 import base64_decoded


def sliced(text: bytes, size: int) -> list[bytes]:
    return [text[begin : begin + size] for begin in range(0, len(text), size)]


def as_a_whole(text: bytes) -> bytes | None:
    """The rule, written for a text in one piece; None: it is no base64."""
    plain = re.sub(rb"[ \t\n\r\f\v]", b"", text).replace(b"-", b"+").replace(b"_", b"/").rstrip(b"=")
    if not re.fullmatch(rb"[A-Za-z0-9+/]*", plain) or len(plain) % 4 == 1:
        return None
    return b64decode(plain + b"=" * (-len(plain) % 4))


def in_slices(text: bytes, size: int) -> bytes | None:
    try:
        return b"".join(base64_decoded(sliced(text, size)))
    except ValueError:
        return None


@given(st.text("Qz9+/-_= \n@%", max_size=24), st.integers(1, 9))
@example("QQQ=QQQ", 3)  # the padding begins a slice, and makes what came before it whole
@example("QQ==QQ==", 4)
@example("QQ=\n=", 1)
@example("====", 2)
def test_wherever_a_slice_ends_the_bytes_are_those_of_the_whole(text: str, size: int) -> None:
    assert in_slices(text.encode(), size) == as_a_whole(text.encode())


@given(st.binary(max_size=200), st.integers(1, 40), st.sampled_from([b64encode, urlsafe_b64encode]))
def test_what_an_encoder_wrote_is_read(content: bytes, size: int, encode: Callable[[bytes], bytes]) -> None:
    written = encode(content)
    assert in_slices(written, size) == in_slices(written.rstrip(b"="), size) == content


@pytest.mark.parametrize("text", [b"QQQ=Q", b"Q", b"Q===", "QQü=".encode(), b"QQ\0Q"])
def test_what_is_no_base64_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"padding|base64|number of data"):
        b"".join(base64_decoded([text]))
