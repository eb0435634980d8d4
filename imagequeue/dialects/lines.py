"""The lines of a batch's file: each is a request to one of the submit routes, read as that route reads it.

A line is `{"custom_id", "method": "POST", "url", "body"}` in UTF-8. What is asked for and what is refused is
decided by the dialect that has the route. This is pure: it may run in a process without HTTP. A million lines
are read one after the other, so what is equal for many of them is worked out once.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic_core import from_json

from imagequeue.dialects.dialect import ClientRequest, Dialect, DialectRoute, SubmittedBody
from imagequeue.dialects.registry import DIALECTS
from imagequeue.domain.catalog import Catalog
from imagequeue.domain.errors import InvalidRequest, NotFound, UnknownModel
from imagequeue.lifecycle.backfill.refusals import LineRefused
from imagequeue.lifecycle.submit.uploads import RequestWithUploads

LONGEST_CUSTOM_ID = 512
"""Characters, as the database has it."""

_MOST_ROUTES = 1000
"""Different urls of one file that are remembered; Azure's have the deployment in them."""

_FIELDS = frozenset({"custom_id", "method", "url", "body"})
_NAMED_FIELD = re.compile(r"(?:Unknown field ')?([A-Za-z_][\w.\[\]-]{0,99})(?:'|: )")
_NO_STREAM = {"stream": "stream", "job": "sync_mode"}
"""What a line cannot ask for, by the answer that it would have: nobody waits for it."""

_Routed = tuple[Dialect, ClientRequest]


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


class LineReader:
    """Reads the lines of one batch, with one reading of the catalog."""

    def __init__(self, terms: LineTerms, catalog: Catalog) -> None:
        self._terms = terms
        self._catalog = catalog
        self._routes: dict[str, _Routed] = {}

    def read(self, text: bytes) -> LineRequest:
        """Read a line.

        Raises:
            LineRefused: it is no such object, or a field is wrong; the message names the field.
            UnknownModel: the catalog does not have its model.
        """
        line = _object(text)
        custom_id = line.get("custom_id")
        if not isinstance(custom_id, str) or not 0 < len(custom_id) <= LONGEST_CUSTOM_ID or "\0" in custom_id:
            raise _refused("custom_id", f"a text of 1 to {LONGEST_CUSTOM_ID} characters is needed")
        dialect, asked = self._route(line)
        fields = line.get("body")
        if not isinstance(fields, dict):
            raise _refused("body", "an object is needed")
        if line.keys() - _FIELDS:
            raise _refused(min(line.keys() - _FIELDS)[:100], "a line has no such field")
        body = cast("dict[str, Any]", fields)
        ask = self._ask(dialect, asked, body)
        return LineRequest(custom_id, dialect.name, ask, {"url": line["url"], "body": body})

    def _ask(self, dialect: Dialect, asked: ClientRequest, body: Mapping[str, Any]) -> RequestWithUploads:
        try:
            ask = dialect.read(asked, SubmittedBody("json", body), self._catalog)
        except UnknownModel:
            raise
        except InvalidRequest as error:
            named = _NAMED_FIELD.match(error.message)
            param = f"body.{named[1]}" if named else "body"
            raise LineRefused(error.message, "invalid_request", param) from None
        except NotFound as error:
            raise LineRefused(error.message, "invalid_url", "url") from None
        if ask.answer in _NO_STREAM:
            name = _NO_STREAM[ask.answer]
            raise LineRefused(f"{name}: nobody waits for a line", "invalid_request", f"body.{name}")
        return ask

    def _route(self, line: Mapping[str, Any]) -> _Routed:
        url, endpoint = line.get("url"), self._terms.endpoint
        if line.get("method") != "POST":
            raise _refused("method", "use POST")
        if not isinstance(url, str):
            raise _refused("url", "a text is needed", "invalid_url")
        known = self._routes.get(url)
        if known is not None:
            return known
        if endpoint is not None and url != endpoint:
            raise _refused("url", f"the batch is for {endpoint}", "invalid_url")
        if len(self._routes) >= _MOST_ROUTES:
            self._routes.clear()
        dialect, route, parameters = submit_route(url)
        asked = ClientRequest(route, parameters, {}, self._terms.headers, self._terms.origin)
        return self._routes.setdefault(url, (dialect, asked))


def read_line(text: bytes, terms: LineTerms, catalog: Catalog) -> LineRequest:
    """Read a single line; `LineReader` reads many.

    Raises:
        LineRefused, UnknownModel: as `LineReader.read`.
    """
    return LineReader(terms, catalog).read(text)


def submit_route(url: str) -> tuple[Dialect, DialectRoute, Mapping[str, str]]:
    """The route that a line's `url` names, with its dialect and the path's parameters.

    Raises:
        LineRefused: it is not the path of a submit route that takes JSON.
    """
    for dialect, route in DIALECTS.routes():
        parameters = route.match(url) if route.verb == "submit" and "json" in route.bodies else None
        if parameters is not None:
            return dialect, route, parameters
    raise _refused("url", "it is not the path of a submit route", "invalid_url")


def _refused(name: str, why: str, code: str = "invalid_request") -> LineRefused:
    return LineRefused(f"{name}: {why}", code, name)


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = from_json(text, allow_inf_nan=False)
    except ValueError:
        _require_utf8(text)
        raise LineRefused("The line is not valid JSON", "invalid_json_line") from None
    if not isinstance(found, dict):
        raise LineRefused("The line must be a JSON object", "invalid_json_line")
    line = cast("dict[str, Any]", found)
    if text.count(b":") > _flat_fields(line):
        json.loads(text, object_pairs_hook=_require_once_each)
    return line


def _flat_fields(line: Mapping[str, Any]) -> int:
    """The fields of a line and of its body. Where its text has no more colons, no field was given twice.

    Most lines are so, and the second reading takes longer than the first one.
    """
    body = line.get("body")
    return len(line) + (len(cast("dict[str, Any]", body)) if isinstance(body, dict) else 0)


def _require_once_each(pairs: list[tuple[str, Any]]) -> None:
    """An object that has a field twice means two things, so a line is refused for it as its submit is."""
    if len(dict(pairs)) < len(pairs):
        ((name, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise _refused(name[:100], "it was given more than once", "invalid_json_line")


def _require_utf8(text: bytes) -> None:
    try:
        text.decode()
    except UnicodeDecodeError:
        raise LineRefused("The line is not UTF-8", "invalid_encoding") from None
