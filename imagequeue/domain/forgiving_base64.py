"""Base64 as browsers take it: with white space and without padding; decoded in slices.

Source: WHATWG Infra, "forgiving-base64 decode". Beyond it the alphabet for URLs and file names (RFC 4648,
section 5) is taken, because many libraries write it by default, and any number of `=` at the end.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable, Iterator
from contextlib import suppress

_WHITE_SPACE = b" \t\n\r\f\v"
_URL_ALPHABET = bytes.maketrans(b"-_", b"+/")


def base64_decoded(slices: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes of a text that comes in slices, one after the other, each decoded in a step of its own.

    Raises:
        ValueError: it is no base64, or breaks off within a character.
    """
    rest, has_ended = b"", False
    for written in slices:
        if not rest and not has_ended and (decoded := _plain(written)) is not None:
            yield decoded
            continue
        padded = written.translate(_URL_ALPHABET, delete=_WHITE_SPACE)
        text = padded.rstrip(b"=")
        if b"=" in text or (has_ended and text):
            raise ValueError("there is padding before the end")
        has_ended = has_ended or len(text) < len(padded)
        rest += text
        whole = len(rest) - len(rest) % 4
        yield b64decode(rest[:whole], validate=True)
        rest = rest[whole:]
    yield b64decode(rest + b"=" * (-len(rest) % 4), validate=True)


def _plain(written: bytes) -> bytes | None:
    """The bytes of a slice as most encoders write it; None: it ends the text, or has to be cleaned first."""
    with suppress(ValueError):
        return None if b"=" in written else b64decode(written, validate=True)
    return None
