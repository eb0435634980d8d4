"""Images in answers: base64, with or without the head of a data URL."""

from __future__ import annotations

import pytest

from imagequeue.domain.upstream import Unavailable
from imagequeue.providers.pictures import decoded


def test_base64_with_or_without_the_head_of_a_data_url() -> None:
    assert decoded("aGVsbG8=") == decoded("data:image/png;base64,aGVsbG8=") == b"hello"


@pytest.mark.parametrize("text", ["aGVs*bG8=", "aGVsbG8", "data:image/png;base64", "<html>", "äöü="])
def test_base64_is_strict(text: str) -> None:
    with pytest.raises(Unavailable):
        decoded(text)
