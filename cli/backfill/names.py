"""Names of the files of images: safe in every file system, and never outside of the directory.

A `custom_id` may hold anything. Every character outside `A-Za-z0-9._-` is percent-encoded, so different ids
have different names; `~` therefore never comes from an id, and separates what is added to one.
"""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass
from hashlib import sha256
from string import Formatter

from cli.backfill.exits import WrongUse

DEFAULT_TEMPLATE = "{custom_id}-{n}.{ext}"

MOST_NAME_BYTES = 150
"""Of an encoded id; with a digest, a line number and the rest of the template it stays below the 255 bytes
that file systems allow."""

_MOST_LITERAL = 40
"""Characters of a template beside its fields, for each part of the path: what 255 bytes leave."""

_DIGEST_LETTERS = 32
_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
_LITERAL = re.compile(r"[A-Za-z0-9._/-]*")
_FIELDS = frozenset({"custom_id", "line", "n", "ext"})
_HALF_ENCODED = re.compile(r"%[0-9A-F]?$")
_SUFFIXES = {"image/png": "png", "image/jpeg": "jpeg", "image/webp": "webp"}


def encoded(custom_id: str) -> str:
    """The name of an id: at most `MOST_NAME_BYTES`, or so many of them and a digest of the whole."""
    given = custom_id.encode("utf-8", "surrogatepass")
    name = "".join(chr(byte) if byte in _SAFE else f"%{byte:02X}" for byte in given)
    if name.startswith("."):
        name = f"%2E{name[1:]}"
    if len(name) <= MOST_NAME_BYTES:
        return name
    digest = sha256(given).hexdigest()[:_DIGEST_LETTERS]
    return f"{_HALF_ENCODED.sub('', name[:MOST_NAME_BYTES])}~{digest}"


def same_file_key(custom_id: str) -> bytes:
    """What ids share whose names differ only in case, which are one file in some file systems: 8 bytes."""
    return sha256(encoded(custom_id).lower().encode()).digest()[:8]


def extension(media_type: str | None) -> str:
    """The ending of a file of this media type."""
    return _SUFFIXES.get(media_type or "", "image")


@dataclass(frozen=True, slots=True)
class FileNames:
    """Names files by a template. The names of `clashing` lines differ from another's only in case.

    `clashing` None: there are too many to list, and every line counts as one of them.
    """

    template: str
    clashing: Container[int] | None

    def name(self, custom_id: str, line: int, number: int, media_type: str | None) -> str:
        """The path, below the directory, of an image of a line; `number` counts its images from 1."""
        clashes = self.clashing is None or line in self.clashing
        return self._filled(custom_id, line, number, media_type, with_line=clashes)

    def other_name(self, custom_id: str, line: int, number: int, media_type: str | None) -> str:
        """The path for an image whose own is taken by a file that is not the program's."""
        return self._filled(custom_id, line, number, media_type, with_line=True)

    def _filled(
        self, custom_id: str, line: int, number: int, media_type: str | None, *, with_line: bool
    ) -> str:
        name = encoded(custom_id)
        return self.template.format(
            custom_id=f"{name}~{line}" if with_line else name,
            line=line,
            n=number,
            ext=extension(media_type),
        )


def checked_template(template: str) -> str:
    """The template, if files that are named by it stay in the directory and differ from each other.

    Raises:
        WrongUse: they do not, or it is none.
    """
    try:
        pieces = list(Formatter().parse(template))
    except ValueError as error:
        raise _wrong(str(error)) from None
    if any(spec or conversion for _, _, spec, conversion in pieces):
        raise _wrong("fields have no format")
    fields = {field for _, field, _, _ in pieces if field is not None}
    if unknown := fields - _FIELDS:
        raise _wrong(f"{{{min(unknown)}}} is none of custom_id, line, n, ext")
    if not fields & {"custom_id", "line"} or "n" not in fields:
        raise _wrong("{n}, and {custom_id} or {line}, make names differ")
    _check_literals("".join(literal for literal, _, _, _ in pieces))
    _check_parts(template)
    return template


def _check_literals(literals: str) -> None:
    if not _LITERAL.fullmatch(literals):
        raise _wrong("beside its fields it may have A-Z, a-z, 0-9, '.', '_', '-' and '/'")


def _check_parts(template: str) -> None:
    for part in template.split("/"):
        if not part or part.startswith("."):
            raise _wrong("no part of it may be empty or begin with a dot")
        if len(re.sub(r"\{\w*\}", "", part)) > _MOST_LITERAL or part.count("{custom_id}") > 1:
            raise _wrong("it is too long")


def _wrong(why: str) -> WrongUse:
    return WrongUse(f"--name-template: {why}")
