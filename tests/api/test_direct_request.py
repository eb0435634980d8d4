"""Indexed header fields say what the framework's say."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from api.direct_request import DirectRequest

FIELDS = [
    (b"host", b"one"),
    (b"prefer", b"wait=1"),
    (b"x-title", "Caf\xe9".encode("latin-1")),
    (b"prefer", b"respond-async"),
    (b"empty", b""),
]


def both() -> tuple[Headers, Headers]:
    scope = {"type": "http", "headers": FIELDS}
    return DirectRequest(scope).headers, Headers(scope=scope)


@pytest.mark.parametrize("name", ["host", "Host", "PREFER", "x-title", "empty", "missing"])
def test_a_field_is_found_by_its_name_in_whatever_letters(name: str) -> None:
    ours, theirs = both()
    assert ours.get(name) == theirs.get(name)
    assert ours.get(name, "none") == theirs.get(name, "none")
    assert ours.getlist(name) == theirs.getlist(name)
    assert (name in ours) == (name in theirs)
    if name in theirs:
        assert ours[name] == theirs[name]


def test_a_missing_field_is_a_key_error() -> None:
    ours, _ = both()
    with pytest.raises(KeyError):
        ours["missing"]


def test_of_a_field_that_is_there_twice_a_dictionary_has_the_last() -> None:
    ours, theirs = both()
    assert dict(ours.items()) == dict(theirs.items())
    assert set(ours) == set(theirs)
    assert ours == theirs
