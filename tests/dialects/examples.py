"""Examples: `tests/dialects/examples/{dialect}/{name}.json`, made from the document of the dialect.

`of` says what an example is about:

    submit    a request with its body, and what must be read out of it, or the refusal
    accepted  the answer to a request whose job is queued
    job       the answer to a request about a job in some status
    stream    the events of a request whose answer is a stream, once its job is in some final status
    models    the answer about the models of the test's catalog
    error     how an error is told
    webhook   what a webhook says about a job, where the dialect has its own
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from imagequeue.dialects.dialect import ClientRequest, Dialect, DialectRoute, SubmittedBody
from imagequeue.dialects.registry import DIALECTS
from imagequeue.domain.images import ImageRequest, Operation
from imagequeue.domain.job_view import JobView, OutputImage
from imagequeue.domain.jobs import JobStatus
from tests.builders import MODEL

DIRECTORY = Path(__file__).parent / "examples"
ORIGIN = "https://images.example.com"
JOB_ID = UUID("019d0000-0000-7000-8000-000000000001")
BEGAN = datetime(2026, 3, 31, 10, 0, tzinfo=UTC)
CONTENT = b"the bytes of an image"
BASE64 = base64.b64encode(CONTENT).decode()
NAMES = [dialect.name for dialect in DIALECTS]


@dataclass(frozen=True, slots=True)
class Example:
    """One example. `form` has `fields`, and `files`: the texts that stand for the files of each field."""

    dialect: str
    name: str
    of: str
    expects: dict[str, Any]
    method: str = "POST"
    path: str = ""
    query: dict[str, str] = field(default_factory=dict[str, str])
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: dict[str, Any] | None = None
    form: dict[str, Any] | None = None
    job: dict[str, Any] = field(default_factory=dict[str, Any])
    error: str | None = None
    status: int = 0
    title: str = ""
    message: str = ""

    def __str__(self) -> str:
        return f"{self.dialect}-{self.name}"

    @property
    def submitted(self) -> SubmittedBody:
        """The body, parsed."""
        if self.form is None:
            return SubmittedBody("json", self.body or {})
        files = {
            name: tuple(one.encode() for one in given) for name, given in self.form.get("files", {}).items()
        }
        return SubmittedBody("form", self.form["fields"], files)

    def request(self) -> ClientRequest:
        """What the API would make of the method, the path, the query and the headers."""
        route, parameters = routed(dialect_named(self.dialect), self.method, self.path)
        return ClientRequest(route, parameters, self.query, self.headers, ORIGIN)


def dialect_named(name: str) -> Dialect:
    """One of the dialects that the registry has found."""
    return next(dialect for dialect in DIALECTS if dialect.name == name)


def routed(dialect: Dialect, method: str, path: str) -> tuple[DialectRoute, dict[str, str]]:
    """The dialect's route for a path, and the path's parameters."""
    for found, route in DIALECTS.routes():
        parameters = route.match(path)
        if found is dialect and route.method == method and parameters is not None:
            return route, parameters
    raise LookupError(f"{dialect.name} has no route {method} {path}")


def examples(of: str) -> list[Example]:
    """All examples of a kind, of every dialect."""
    found = [_read(path) for path in sorted(DIRECTORY.glob("*/*.json"))]
    return [example for example in found if example.of == of]


def _read(path: Path) -> Example:
    return Example(dialect=path.parent.name, name=path.stem, **json.loads(path.read_text("utf-8")))


def events(text: str) -> list[dict[str, Any]]:
    """The server-sent events of a text that consists of whole ones: `event` if it has a name, and `data`."""
    assert not text or text.endswith("\n\n"), "an event ends with an empty line"
    return [_event(lines.split("\n")) for lines in text.removesuffix("\n\n").split("\n\n") if lines]


def _event(lines: list[str]) -> dict[str, Any]:
    fields = [line.partition(": ") for line in lines if not line.startswith(":")]
    assert {name for name, _, _ in fields} <= {"event", "data"}
    data = "\n".join(value for name, _, value in fields if name == "data")
    names = [(name, value) for name, _, value in fields if name == "event"]
    return dict(names) | {"data": json.loads(data) if data.startswith("{") else data}


def view(dialect: str, given: dict[str, Any], *, base64: str | None = None) -> JobView:
    """A job as an example describes it: what it does not say is the same for all."""
    status = JobStatus(given["status"])
    operation: Operation = given.get("operation", "generate")
    images = given.get("images", 1 if status is JobStatus.COMPLETED else 0)
    return JobView(
        job_id=JOB_ID,
        request=ImageRequest(MODEL, "a fox", operation, image_count=max(1, images)),
        dialect=dialect,
        status=status,
        created_at=BEGAN,
        updated_at=BEGAN + timedelta(seconds=15),
        completed_at=BEGAN + timedelta(seconds=15) if status.is_final else None,
        price_usd=Decimal("0.039") * max(1, images),
        error=given.get("error"),
        images=tuple(
            OutputImage(
                f"key-{number}", f"{ORIGIN}/{number}.png", "image/png", 1024, 768, len(CONTENT), base64
            )
            for number in range(1, images + 1)
        ),
        notes=given.get("notes", {}),
    )
