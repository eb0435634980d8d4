"""What files say about pages: which page, which heading of it; and which numbers of issues they name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

_WRAPPED = re.compile(r"\s*\n[ \t]*(?:(?:#|--|;)[ \t]*)?")
"""The end of a line, and the mark of a comment that goes on: a citation may be broken there."""

_PAGE = re.compile(
    r"(?<![\w./:*{}-])(?P<page>[\w.-][\w./-]*\.md)\b(?:#(?P<anchor>[\w-]+))?"
    r"[)`]*(?P<headings>(?:(?:,| and|,? \()\s*\"[^\"]{1,120}\")*)"
)
_QUOTED = re.compile(r"\"([^\"]+)\"")
_OWN_ANCHOR = re.compile(r"\]\(#([\w-]+)\)")
_DECISION = re.compile(r"\bADRs? (\d+)\b")
_LAW = re.compile(r"\blaws? (\d+)\b")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)

_ISSUE = re.compile(
    r"\b(?:issues?|tickets?|pull requests?)\s+(?:no\.?\s*|number\s+)?#?\d+\b"
    r"|(?<![\w&#/\"'])#\d{1,5}\b|/(?:issues|pull)/\d+\b|\bGH-\d+\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Citation:
    """A page as somebody wrote it, and what of it is meant: a heading, or the anchor of one."""

    page: str
    heading: str | None = None
    anchor: str | None = None


def cited(text: str) -> Iterator[Citation]:
    """The pages that a text cites: by their path, with the anchor of a link or with headings in quotes."""
    for found in _PAGE.finditer(_WRAPPED.sub(" ", text)):
        headings: list[str | None] = _QUOTED.findall(found["headings"])
        yield from (Citation(found["page"], heading, found["anchor"]) for heading in headings or [None])


def issue_numbers(text: str) -> list[str]:
    """Where a text names an issue by its number, which nobody outside can look up."""
    return _ISSUE.findall(_WRAPPED.sub(" ", text))


def broken(root: Path, name: Path, text: str) -> Iterator[str]:
    """What the citations of a file lead to nowhere; paths count from `root`, in pages also from the page."""
    for one in cited(text):
        reason = _wrong(root, name, one)
        if reason:
            yield f"{name}: {one.page}: {reason}"
    if name.suffix == ".md":
        yield from (
            f"{name}: no heading #{anchor}"
            for anchor in _OWN_ANCHOR.findall(text)
            if anchor not in _anchors(root / name)
        )
    prose = _WRAPPED.sub(" ", text)
    for number in _DECISION.findall(prose):
        if not list((root / "docs/adr").glob(f"{int(number):04}-*.md")):
            yield f"{name}: no ADR {number}"
    for number in _LAW.findall(prose):
        if not re.search(rf"^{number}\. ", (root / "CONTRIBUTING.md").read_text("utf-8"), re.MULTILINE):
            yield f"{name}: no law {number}"


def _wrong(root: Path, name: Path, one: Citation) -> str | None:
    page = _found(root, name, one.page)
    if page is None:
        return "no such page"
    if one.heading is not None and one.heading not in _headings(page):
        return f'no heading "{one.heading}"'
    if one.anchor is not None and one.anchor not in _anchors(page):
        return f"no heading #{one.anchor}"
    return None


def _found(root: Path, name: Path, page: str) -> Path | None:
    folders = [root, (root / name).parent] if name.suffix == ".md" else [root]
    paths = (folder / PurePosixPath(page) for folder in folders)
    return next((path.resolve() for path in paths if path.is_file()), None)


@cache
def _headings(page: Path) -> frozenset[str]:
    prose = _FENCED.sub("", page.read_text("utf-8"))
    return frozenset(heading.replace("`", "") for heading in _HEADING.findall(prose))


def _anchors(page: Path) -> set[str]:
    """Anchors as GitHub makes them: lower case, punctuation left out, a hyphen for each space."""
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _headings(page))
    return {heading.replace(" ", "-") for heading in kept}
