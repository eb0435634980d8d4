"""What every provider promises whatever it is sent: only errors that the verdicts know."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagequeue.domain.upstream import Images, Pending, UpstreamError
from imagequeue.providers.registry import PROVIDERS
from tests.providers.recordings import response


@settings(deadline=None)  # other work on the machine is not a fault
@given(st.sampled_from(sorted(PROVIDERS)), st.integers(300, 599), st.binary(max_size=200))
def test_no_error_answer_ever_escapes_the_tree(provider: str, status: int, body: bytes) -> None:
    with pytest.raises(UpstreamError):
        PROVIDERS[provider].parse(response(status, body), 1)  # type: ignore[index]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("data", "b64_json", "url", "meta", "usage", "usd_spent", "billed_amount", "cost"),
                    *("choices", "message", "images", "image_url", "error", "code", "metadata", "refusal"),
                    *("status", "output", "media_url", "request_id", "inner_error"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)  # other work on the machine is not a fault
@given(st.sampled_from(sorted(PROVIDERS)), st.sampled_from([200, 400, 403, 429]), JSON)
def test_no_json_makes_a_parser_stumble(provider: str, status: int, body: Any) -> None:
    answered = response(status, json.dumps(body).encode())
    try:
        read: object = PROVIDERS[provider].parse(answered, 1)  # type: ignore[index]
    except UpstreamError as error:
        read = error
    assert isinstance(read, Images | Pending | UpstreamError)
