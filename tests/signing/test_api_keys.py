"""API keys: made, found and checked."""

from __future__ import annotations

import pytest

from imagequeue.signing import api_key_lookup, is_api_key, new_api_key


def test_a_new_key_is_found_by_its_lookup_and_matches_its_digest_only() -> None:
    one, other = new_api_key(), new_api_key()
    assert api_key_lookup(one.key) == one.lookup != other.lookup
    assert is_api_key(one.key, one.digest)
    assert not is_api_key(other.key, one.digest)
    assert not is_api_key(one.key[:-1] + ("A" if one.key[-1] != "A" else "B"), one.digest)
    assert len(one.digest) == 32


def test_a_key_does_not_show_in_logs() -> None:
    made = new_api_key()
    assert made.key not in repr(made)


@pytest.mark.parametrize(
    "text", ["", "iq_", "sk-abc", "iq_0123456789abcdef_short", "\u00fc", "\udcff", "iq_" + "0" * 10_000]
)
def test_what_has_not_the_form_of_a_key_has_no_lookup(text: str) -> None:
    assert api_key_lookup(text) is None
    assert not is_api_key(text, new_api_key().digest)


def test_a_newline_after_a_key_makes_it_none() -> None:
    assert api_key_lookup(new_api_key().key + "\n") is None
