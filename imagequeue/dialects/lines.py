"""The lines of a batch's file: each is a request to one of the submit routes, read as that route reads it.

A line is `{"custom_id", "method": "POST", "url", "body"}` in UTF-8. What is asked for and what is refused is
decided by the dialect that has the route. This is pure: it may run in a process without HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

from imagequeue.dialects.dialect import ClientRequest, Dialect, DialectRoute, Rendered, SubmittedBody
from imagequeue.dialects.registry import DIALECTS
from imagequeue.domain.catalog import Catalog
from imagequeue.domain.errors import InvalidRequest
from imagequeue.domain.job_view import JobView
from imagequeue.lifecycle.submit.uploads import RequestWithUploads


@dataclass(frozen=True, slots=True)
class LineTerms:
    """What the lines of a batch share: its `endpoint` (None: each line's own), headers, and our `origin`."""

    endpoint: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    origin: str = ""


@dataclass(frozen=True, slots=True)
class LineRequest:
    """A line as it was read. `identity` is what two lines must share to ask for the same, as JSON."""

    custom_id: str
    dialect: str
    ask: RequestWithUploads
    identity: Mapping[str, Any]


def read_line(text: bytes, terms: LineTerms, catalog: Catalog) -> LineRequest:
    """Read a line.

    Raises:
        UnknownModel: the catalog does not have its model.
        InvalidRequest: it is no such object, or a field is wrong; the message names the field.
    """
    line = _object(text)
    custom_id, url, body = line.get("custom_id"), line.get("url"), line.get("body")
    if not isinstance(custom_id, str) or not custom_id:
        raise InvalidRequest("custom_id: a text is needed")
    if line.get("method") != "POST":
        raise InvalidRequest("method: use POST")
    if not isinstance(url, str) or (terms.endpoint is not None and url != terms.endpoint):
        raise InvalidRequest(f"url: use {terms.endpoint or 'the path of a submit route'}")
    if not isinstance(body, dict):
        raise InvalidRequest("body: an object is needed")
    fields = cast("dict[str, Any]", body)
    dialect, route, parameters = submit_route(url)
    asked = ClientRequest(route, parameters, {}, terms.headers, terms.origin)
    ask = dialect.read(asked, SubmittedBody("json", fields), catalog)
    return LineRequest(custom_id, dialect.name, ask, {"url": url, "body": fields})


def answer_line(job: JobView, headers: Mapping[str, str], origin: str) -> Rendered:
    """What the submit of a job would have been answered with once it is final.

    An image whose `base64` is given may stand in the body, any other is named by its URL.
    """
    dialect, asked = _asked(job, headers, origin)
    return dialect.render(asked, job)


def wants_content(job: JobView, headers: Mapping[str, str], origin: str) -> bool:
    """Whether that answer is to hold the images themselves."""
    dialect, asked = _asked(job, headers, origin)
    return dialect.wants_content(asked, job)


def _asked(job: JobView, headers: Mapping[str, str], origin: str) -> tuple[Dialect, ClientRequest]:
    """A submit in the dialect of a job. What is answered about a job is the same for all of its routes."""
    for dialect, route in DIALECTS.routes():
        if dialect.name == job.dialect and route.verb == "submit" and "json" in route.bodies:
            return dialect, ClientRequest(route, {}, {}, headers, origin)
    raise LookupError(f"no dialect of this installation is {job.dialect}")


@lru_cache(maxsize=1000)
def submit_route(url: str) -> tuple[Dialect, DialectRoute, Mapping[str, str]]:
    """The route that a line's `url` names, with its dialect and the path's parameters.

    Raises:
        InvalidRequest: it is not the path of a submit route that takes JSON.
    """
    for dialect, route in DIALECTS.routes():
        parameters = route.match(url) if route.verb == "submit" and "json" in route.bodies else None
        if parameters is not None:
            return dialect, route, parameters
    raise InvalidRequest("url: it is not the path of a submit route")


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidRequest("The line is no JSON in UTF-8") from None
    if not isinstance(found, dict):
        raise InvalidRequest("The line is no JSON object")
    return cast("dict[str, Any]", found)
