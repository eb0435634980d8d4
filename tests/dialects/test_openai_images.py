"""Answers in OpenAI's form: of the looks of images what is known, and what they cost."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from imagequeue.dialects.openai_images import amount, completed_events, looks
from imagequeue.domain.job_view import JobView
from tests.dialects.examples import BASE64, events, view


def job(count: int = 2, **options: Any) -> JobView:
    found = view("openai", {"status": "COMPLETED", "images": count}, base64=BASE64)
    return replace(found, request=replace(found.request, options=options))


def test_what_is_known_of_the_images_is_told_and_nothing_else() -> None:
    told = {"size": "1024x768", "output_format": "png", "quality": "high", "background": "opaque"}
    assert looks(job(quality="high", background="opaque")) == told
    assert looks(job(quality="auto")) == {"size": "1024x768", "output_format": "png"}
    one, other = job().images
    unlike = replace(job(), images=(one, replace(other, width=768, media_type="image/webp")))
    assert looks(unlike) == {}
    assert looks(replace(job(), images=(replace(one, media_type="image/avif"),))) == {"size": "1024x768"}


def test_an_event_has_the_format_and_the_size_of_its_own_image() -> None:
    one, other = job().images
    unlike = replace(job(), images=(one, replace(other, width=768, media_type="image/webp")))
    first, second = (event["data"] for event in events(completed_events(unlike, "x")))
    assert (first["size"], first["output_format"]) == ("1024x768", "png")
    assert (second["size"], second["output_format"]) == ("768x768", "webp")


def test_the_amounts_of_a_streams_events_are_the_price_of_the_job() -> None:
    told = events(completed_events(job(3), "x", billed=True))
    amounts = [Decimal(event["data"]["usage"]["billed_amount"]) for event in told]
    assert sum(amounts) == job(3).price_usd


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        ("0.039", "0.039000"),
        ("0", "0.000000"),
        ("0.000000001", "0.000000001"),
        ("12.0000000", "12.000000"),
        ("1E+1", "10.000000"),
    ],
)
def test_an_amount_has_six_decimals_or_as_many_as_it_needs(usd: str, text: str) -> None:
    assert amount(Decimal(usd)) == text
