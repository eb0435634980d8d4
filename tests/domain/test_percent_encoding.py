"""Percent-encoding is read as the library reads it, in memory that is in proportion to the text."""

from __future__ import annotations

import tracemalloc
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imagequeue.domain import percent_encoding
from imagequeue.domain.percent_encoding import percent_decoded

MIB = 1024 * 1024
TEXTS = st.text("%41aAgZü", max_size=60)


@given(TEXTS, st.integers(3, 12))
@example("%%%41", 3)
@example("aa%41", 3)
def test_wherever_a_step_ends_the_text_is_the_one_of_the_library(text: str, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(percent_encoding, "_SLICE", size)
        assert b"".join(percent_decoded(text)) == unquote_to_bytes(text)


def test_a_text_is_read_from_where_it_begins() -> None:
    assert b"".join(percent_decoded("data:,%41%20b", 6)) == b"A b"


def test_half_a_character_is_a_question_mark() -> None:
    assert b"".join(percent_decoded("a\ud800b")) == b"a?b"


def test_a_text_of_nothing_but_escapes_takes_memory_in_proportion_to_its_length() -> None:
    text = "%41" * MIB
    tracemalloc.start()
    try:
        assert b"".join(percent_decoded(text)) == b"A" * MIB
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * len(text), "the library took 80 times the text"
