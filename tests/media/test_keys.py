"""Keys: how they are made, and what is none."""

from __future__ import annotations

from uuid import UUID

import pytest

from imagequeue.media.keys import checked_key, input_key, output_key

ATTEMPT = UUID("019d0000-0000-7000-8000-000000000001")
KEY = output_key("microsoft-mai-image-2-5_019d", ATTEMPT, 1, "png")


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../secret", "v1/../../x", "v1//x", "v1/.part", "a\\b", "a\0b", "v1/x/", "ü"]
)
def test_only_keys_are_keys(key: str) -> None:
    with pytest.raises(ValueError, match="storage key"):
        checked_key(key)


def test_key_layout() -> None:
    assert f"v1/microsoft-mai-image-2-5_019d/{ATTEMPT}/output.png" == KEY
    assert output_key("m_1", ATTEMPT, 2, "webp").endswith("/output_2.webp")
    assert input_key(b"") == "inputs/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
