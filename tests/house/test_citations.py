"""What code, tests and pages cite is there: every page, every heading. No issue is cited by its number."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house.checkout import ROOT, text, tracked
from tests.house.citations import Citation, broken, cited, issue_numbers

KINDS = (
    *("*.py", "*.md", "*.toml", "*.lua", "*.yml", "*.yaml", "*.ini", "*.cfg", "*.in", "*.mako", "*.sh"),
    *("Makefile", "Dockerfile", "LICENSE", "run", ".env.example", ".dockerignore", ".gitignore"),
)
SAMPLES = Path(__file__).relative_to(ROOT)
FILES = [path for path in tracked(*KINDS) if path != SAMPLES]


def test_every_cited_page_and_heading_is_there() -> None:
    assert [wrong for path in FILES for wrong in broken(ROOT, path, text(str(path)))] == []


def test_no_issue_is_cited_by_its_number() -> None:
    found = {str(path): issue_numbers(text(str(path))) for path in FILES}
    assert {name: numbers for name, numbers in found.items() if numbers} == {}


def test_all_kinds_of_files_are_looked_at() -> None:
    names = {str(path) for path in FILES}
    assert {"README.md", "pyproject.toml", "Makefile", "docker-compose.yml", ".ci/run"} <= names
    assert {path.suffix for path in FILES} >= {".py", ".md", ".toml", ".lua", ".yml", ".ini"}
    assert len(FILES) > 300


@pytest.mark.parametrize(
    ("said", "heading"),
    [
        ("(docs/a.md).", None),
        ('(law 3; docs/a.md, "The rule").', "The rule"),
        ('as in docs/a.md ("The rule")', "The rule"),
        ('over its lease (docs/a.md,\n"The rule")', "The rule"),
        ('# over its lease (docs/a.md, "The\n    # rule")', "The rule"),
        ('-- docs/a.md, "The\n-- rule"', "The rule"),
        ('[the page](docs/a.md), "The rule"', "The rule"),
        ('`docs/a.md`, "The rule"', "The rule"),
    ],
)
def test_citations_are_found_in_comments_docstrings_and_pages(said: str, heading: str | None) -> None:
    assert list(cited(said)) == [Citation("docs/a.md", heading)]


def test_every_heading_of_a_citation_is_followed() -> None:
    headings = [one.heading for one in cited('see docs/a.md, "One" and "Two"')]
    assert headings == ["One", "Two"]


@pytest.mark.parametrize("said", ["https://example.com/README.md", 'tracked("*.md")', 'f"{page}.md"'])
def test_addresses_and_patterns_are_no_citations(said: str) -> None:
    assert list(cited(said)) == []


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ("docs/page.md", None),
        ('docs/page.md, "The rule"', None),
        ('docs/page.md, "Longer words"', 'docs/page.md: no heading "Longer words"'),
        ('docs/page.md, "Long words"', None),
        ("docs/page.md#the-rule", None),
        ("page.md", "page.md: no such page"),
        ("docs/other.md", "docs/other.md: no such page"),
        ('docs/page.md, "A rule"', 'docs/page.md: no heading "A rule"'),
        ('docs/page.md, "In a block"', 'docs/page.md: no heading "In a block"'),
        ("docs/page.md#a-rule", "docs/page.md: no heading #a-rule"),
        ("ADR 1", None),
        ("ADR 2", "no ADR 2"),
        ("law 1", None),
        ("law 2", "no law 2"),
    ],
)
def test_a_citation_that_leads_nowhere_is_named(tmp_path: Path, said: str, wrong: str | None) -> None:
    checkout(tmp_path)
    assert list(broken(tmp_path, Path("code.py"), said)) == ([f"code.py: {wrong}"] if wrong else [])


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ("[a page](page.md)", None),
        ("[a page](docs/page.md)", None),
        ("[a page](adr/0001-first.md)", None),
        ("[a page](other.md)", "other.md: no such page"),
        ("# Title\n[above](#title)", None),
        ("# Title\n[above](#heading)", "no heading #heading"),
    ],
)
def test_a_page_may_cite_from_where_it_stands(tmp_path: Path, said: str, wrong: str | None) -> None:
    checkout(tmp_path)
    (tmp_path / "docs/citing.md").write_text(said, "utf-8")
    found = list(broken(tmp_path, Path("docs/citing.md"), said))
    assert found == ([f"docs/citing.md: {wrong}"] if wrong else [])


@pytest.mark.parametrize(
    "said",
    [
        *("(issue 3)", "issues 3 and 4", "issue\n3", "Issue #12", "(#12)", "as #7 says", "ticket 9", "GH-4"),
        *("github.com/owner/name/issues/12", "github.com/owner/name/pull/3"),
    ],
)
def test_the_number_of_an_issue_is_found(said: str) -> None:
    assert issue_numbers(said)


@pytest.mark.parametrize(
    "said",
    ['black="#101014"', "&#39;", "page.md#12-points", "# 1. a list", "reissue 3 keys", "an issue of 3 files"],
)
def test_other_numbers_are_no_issues(said: str) -> None:
    assert issue_numbers(said) == []


def checkout(root: Path) -> None:
    """A checkout with two pages, one decision and one law."""
    (root / "docs/adr").mkdir(parents=True)
    (root / "docs/adr/0001-first.md").write_text("# 1. First\n", "utf-8")
    (root / "CONTRIBUTING.md").write_text("# Contributing\n\n1. **Short files.**\n", "utf-8")
    page = "# Page\n\n## The rule\n\n## Long `words`\n\n```\n# In a block\n```\n"
    (root / "docs/page.md").write_text(page, "utf-8")
