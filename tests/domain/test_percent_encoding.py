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
TEXTS = st.text("%41aAgZ", max_size=60).map(str.encode)


@given(TEXTS, st.integers(3, 12))
@example(b"%%%41", 3)
@example(b"aa%41", 3)
def test_wherever_a_step_ends_the_text_is_the_one_of_the_library(text: bytes, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(percent_encoding, "_SLICE", size)
        assert percent_decoded(text) == unquote_to_bytes(text)


def test_a_text_of_nothing_but_escapes_takes_memory_in_proportion_to_its_length() -> None:
    text = b"%41" * MIB
    tracemalloc.start()
    try:
        assert percent_decoded(text) == b"A" * MIB
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * len(text), "the library took 80 times the text"
