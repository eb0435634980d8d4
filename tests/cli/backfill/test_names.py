"""Names of files: any custom_id, in any file system, never outside of the directory."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.backfill.exits import WrongUse
from cli.backfill.names import DEFAULT_TEMPLATE, FileNames, checked_template, encoded, same_file_key

IDS = st.text(min_size=1, max_size=512) | st.text("aA./\\%~:\0é", min_size=1, max_size=200)
NAMES = FileNames(DEFAULT_TEMPLATE, frozenset[int]())


@given(IDS)
def test_every_id_is_a_plain_name(custom_id: str) -> None:
    for line, names in ((7, NAMES), (7, FileNames(DEFAULT_TEMPLATE, None))):
        name = names.name(custom_id, line, 1, "image/png")
        assert re.fullmatch(r"[A-Za-z0-9_%-][A-Za-z0-9._%~-]*", name)
        assert PurePosixPath(name).parts == (name,)
        assert len(name.encode()) <= 255


@given(IDS, IDS)
def test_different_ids_have_different_names_in_every_file_system(one: str, other: str) -> None:
    if one == other:
        return
    assert encoded(one) != encoded(other)
    clash = frozenset({1, 2} if same_file_key(one) == same_file_key(other) else ())
    names = FileNames(DEFAULT_TEMPLATE, clash)
    assert names.name(one, 1, 1, None).lower() != names.name(other, 2, 1, None).lower()


@given(st.text(min_size=1, max_size=100), st.integers(1, 10))
def test_the_images_of_a_line_have_names_of_their_own(custom_id: str, number: int) -> None:
    first = NAMES.name(custom_id, 1, number, "image/webp")
    assert first != NAMES.name(custom_id, 1, number + 1, "image/webp")
    assert first.endswith(f"-{number}.webp")


@pytest.mark.parametrize(
    ("custom_id", "name"),
    [
        ("cat-1", "cat-1"),
        (".hidden", "%2Ehidden"),
        ("..", "%2E."),
        ("a/b", "a%2Fb"),
        ("é", "%C3%A9"),
        ("100%", "100%25"),
        ("a~1", "a%7E1"),
    ],
)
def test_an_id_is_encoded_as_the_page_says(custom_id: str, name: str) -> None:
    assert encoded(custom_id) == name


def test_a_long_id_ends_with_a_digest_and_with_no_half_of_a_character() -> None:
    one, other = encoded("é" * 100 + "a"), encoded("é" * 100 + "b")
    assert one != other
    assert re.fullmatch(r"(%[0-9A-F]{2}){25}~[0-9a-f]{32}", encoded("\1" * 100)[:75] + one[-33:])
    assert len(one) <= 150 + 33


@pytest.mark.parametrize(
    "template",
    [
        "{custom_id}.{ext}",
        "{n}.{ext}",
        "../{custom_id}-{n}",
        "/{custom_id}-{n}",
        "a//{custom_id}-{n}",
        ".{custom_id}-{n}",
        "a/./{custom_id}-{n}",
        "{custom_id}-{n}/",
        "{custom_id}-{n}\\x",
        "{custom_id!r}-{n}",
        "{custom_id:>500}-{n}",
        "{custom_id.__class__}-{n}",
        "{prompt}-{n}",
        "{0}-{n}",
        "{custom_id-{n}",
        "{{x}}{custom_id}-{n}",
        "x" * 50 + "{custom_id}-{n}",
        "{custom_id}{custom_id}-{n}",
    ],
)
def test_a_template_cannot_leave_the_directory_or_name_two_images_alike(template: str) -> None:
    with pytest.raises(WrongUse, match="--name-template"):
        checked_template(template)


@given(IDS)
def test_what_an_id_holds_never_leads_out_of_a_folder_of_the_template(custom_id: str) -> None:
    template = checked_template("{custom_id}/{line}-{n}.{ext}")
    parts = PurePosixPath(FileNames(template, frozenset[int]()).name(custom_id, 1, 1, "image/png")).parts
    assert len(parts) == 2
    assert not {".", ".."} & set(parts)
