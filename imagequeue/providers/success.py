"""The answer with status 2xx: its images, or why it has none.

An image is kept whatever else the answer says, because it is paid. Without one the answer may hold an error
or a refusal, in the body or in one of its choices (docs/design/protocols.md, "An error inside a success").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from imagequeue.domain.upstream import Images, Rejected, Unavailable, UpstreamError
from imagequeue.providers.answers import judged, require_success
from imagequeue.providers.error_body import UpstreamErrorBody, error_body_in, one_line
from imagequeue.providers.error_words import is_refusal_reason, status_of_codes
from imagequeue.providers.found_images import body_of, images_in
from imagequeue.providers.pictures import collected
from imagequeue.providers.response import UpstreamResponse
from imagequeue.providers.values import items, mapping, usd, value_at

_LISTS = ("choices", "candidates", "data", "output", "outputs", "results", "images")
"""Keys whose entries may have an error or a refusal of their own."""
_REASONS = ("native_finish_reason", "finish_reason", "finishReason", "stop_reason", "blockReason", "status")
"""Keys that say why a model stopped. The native reason comes first: it is the more exact one."""
_STATUSES = ("code", "status", "status_code", "statusCode")
_AN_ERROR = re.compile(r"[45][0-9]{2}")
_MOST_PLACES = 100
"""Objects of an answer in which an error is looked for: there are as many as images, and a few more."""


def images_of(response: UpstreamResponse, image_count: int, *, cost_at: Sequence[str] = ()) -> Images:
    """The images of an answer; `cost_at` are the keys that lead to what the upstream charged, in USD.

    Raises:
        UpstreamError: the one that the status means, or an error inside of a success. Its `cost_usd` is what
            the upstream charged all the same.
    """
    require_success(response)
    body = body_of(response)
    cost_usd = usd(value_at(body, cost_at)) if cost_at else None
    images = images_in(body, response.url)
    first = next(images, None)
    if first is None:
        raise why_none(response, body, image_count, cost_at)
    return collected(chain([first], images), image_count, cost_usd)


def why_none(
    response: UpstreamResponse, body: Any, image_count: int, cost_at: Sequence[str] = ()
) -> UpstreamError:
    """The error of a success without an image."""
    places = list(_places(body))
    error = _refusal(places) or _error(response, places)
    error = error or Unavailable(f"the answer holds 0 of {image_count} images", http_status=response.status)
    error.cost_usd = usd(value_at(body, cost_at)) if cost_at else None
    return error


def _places(body: Any) -> Iterator[dict[str, Any]]:
    """The objects that may hold an error: the body, and each entry of its lists."""
    outer = mapping(body)
    yield outer
    yield mapping(outer.get("promptFeedback"))
    for key in _LISTS:
        for entry in items(outer.get(key))[:_MOST_PLACES]:
            yield mapping(entry)


def _refusal(places: list[dict[str, Any]]) -> Rejected | None:
    """The refusal of the model, or of a content filter, with the upstream's words."""
    for place in places:
        message = mapping(place.get("message"))
        refusal = _refused(message) or _refused(place)
        reason = _reason(place)
        if refusal or reason:
            spoken = (
                refusal,
                error_body_in(place).message,
                _said(message),
                one_line(place.get("finishMessage")),
            )
            words = _first_text(spoken) or f"The upstream refused the content ({reason})"
            return Rejected(words, http_status=200, policy=True)
    return None


def _refused(message: dict[str, Any]) -> str:
    """The words of a refusal, in the message or in one of its parts."""
    return _first_text(one_line(part.get("refusal")) for part in (message, *_parts(message)))


def _said(message: dict[str, Any]) -> str:
    """What the model said in place of an image."""
    texts = (message.get("content"), *(part.get("text") for part in _parts(message)))
    return _first_text(map(one_line, texts))


def _parts(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [mapping(part) for part in items(message.get("content"))[:_MOST_PLACES]]


def _first_text(texts: Iterable[str]) -> str:
    return next((text for text in texts if text), "")


def _reason(place: dict[str, Any]) -> str:
    """Why the model stopped, when that is a refusal of content; empty when it is not."""
    reasons = [one_line(place.get(key)) for key in _REASONS]
    reasons.append(one_line(value_at(place, ("incomplete_details", "reason"))))
    return next(filter(is_refusal_reason, reasons), "") or _filtered(place)


def _filtered(place: dict[str, Any]) -> str:
    """The category of Azure's content filter that struck, as `content_filter: violence`."""
    for name, found in mapping(place.get("content_filter_results")).items():
        if mapping(found).get("filtered") is True or mapping(found).get("detected") is True:
            return f"content_filter: {name}"
    return ""


def _error(response: UpstreamResponse, places: list[dict[str, Any]]) -> UpstreamError | None:
    """The first error in an answer of status 200. Its own code is an HTTP status, or says which one."""
    for place in places:
        error_body = error_body_in(place)
        if place.get("error") or place.get("errors") or (place is places[0] and error_body.message):
            status = _status(place) or _status_of(error_body)
            return judged(replace(response, status=status), replace(error_body, origin="upstream"))
    return None


def _status(place: dict[str, Any]) -> int | None:
    """The HTTP status that an error names, as a number or as text."""
    error = mapping(place.get("error")) or mapping(next(iter(items(place.get("errors"))), None))
    named = [one_line(where.get(key)) for where in (error, place) for key in _STATUSES]
    return next((int(text) for text in named if _AN_ERROR.fullmatch(text)), None)


def _status_of(error_body: UpstreamErrorBody) -> int:
    if error_body.about_policy or error_body.about_us:
        return 400
    return status_of_codes(error_body.codes)
