"""What every dialect must do, shown on the examples of each and on every form of nonsense."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from api.errors import ANSWERS
from imagequeue.dialects.dialect import (
    ClientRequest,
    Dialect,
    DialectRoute,
    ModelsDialect,
    Refusal,
    Rendered,
    StreamingDialect,
    SubmittedBody,
    WebhookDialect,
)
from imagequeue.domain import errors
from imagequeue.domain.errors import ImagequeueError
from imagequeue.domain.images import ImageRequest
from imagequeue.domain.jobs import FINAL, JobStatus
from imagequeue.lifecycle.submit.uploads import RequestWithUploads
from tests.builders import catalog
from tests.dialects.examples import (
    BASE64,
    NAMES,
    ORIGIN,
    Example,
    dialect_named,
    events,
    examples,
    view,
)

CATALOG = catalog()
SUBMITS = examples("submit")
READ = [example for example in SUBMITS if "request" in example.expects]
JOBS = examples("job")
STREAMS = examples("stream")


def _read(example: Example, body: SubmittedBody | None = None) -> RequestWithUploads:
    dialect = dialect_named(example.dialect)
    return dialect.read(example.request(), body or example.submitted, CATALOG)


@pytest.mark.parametrize("name", NAMES)
def test_every_dialect_has_its_examples(name: str) -> None:
    dialect = dialect_named(name)
    submits = [route for route in dialect.routes if route.verb == "submit"]
    kinds = {(route.path, kind) for route in submits for kind in route.bodies}
    assert kinds <= {_kind(example) for example in READ if example.dialect == name}
    refused = [example for example in SUBMITS if example.dialect == name and example not in READ]
    assert kinds <= {_kind(example) for example in refused}
    accepted = [example for example in examples("accepted") if example.dialect == name]
    assert {route.path for route in submits} == {example.request().route.path for example in accepted}
    shown = [example for example in JOBS if example.dialect == name]
    assert {example.job["status"] for example in shown} == set(JobStatus)
    about_jobs = {route.path for route in dialect.routes if route.verb in {"status", "result", "cancel"}}
    assert about_jobs <= {example.request().route.path for example in shown}
    listed = [example.request().route for example in examples("models") if example.dialect == name]
    assert {route.path for route in dialect.routes if route.verb == "models"} == {r.path for r in listed}
    streamed = [example for example in STREAMS if example.dialect == name]
    assert bool(streamed) == isinstance(dialect, StreamingDialect)
    assert not streamed or {example.job["status"] for example in streamed} == FINAL
    told = [example for example in examples("error") if example.dialect == name]
    assert None in {example.error for example in told}
    if isinstance(dialect, WebhookDialect):
        told = [example for example in examples("webhook") if example.dialect == name]
        assert {example.job["status"] for example in told} == FINAL


def _kind(example: Example) -> tuple[str, str]:
    return example.request().route.path, example.submitted.kind


@pytest.mark.parametrize("example", SUBMITS, ids=str)
def test_a_submit_is_read_as_it_is_meant(example: Example) -> None:
    expects = example.expects
    if "error" in expects:
        kind: type[ImagequeueError] = getattr(errors, expects["error"])
        with pytest.raises(kind) as raised:
            _read(example)
        assert (type(raised.value), raised.value.message) == (kind, expects["message"])
        return
    found = _read(example)
    told = found.request.parameters() | {"model_id": found.request.model_id, "prompt": found.request.prompt}
    assert {name: told[name] for name in expects["request"]} == expects["request"]
    sources = [(image.field, image.source) for image in found.images]
    wanted = [(image["field"], image["source"]) for image in expects.get("images", [])]
    assert [(name, source.decode() if isinstance(source, bytes) else source) for name, source in sources] == (
        wanted
    )
    assert (None if found.mask is None else found.mask.field) == expects.get("mask")
    assert found.notes == expects.get("notes", {})
    assert found.answer == expects.get("answer")
    assert found.answer != "stream" or isinstance(dialect_named(example.dialect), StreamingDialect)
    assert isinstance(found.request, ImageRequest)


@pytest.mark.parametrize("example", examples("accepted"), ids=str)
def test_a_queued_job_is_answered_as_the_document_has_it(example: Example) -> None:
    dialect, request = dialect_named(example.dialect), example.request()
    answer = dialect.accepted(request, f"{example.job['request_id']}")
    _check(answer, example, request.route)
    assert dialect.accepted(request, example.job["request_id"]) == answer


@pytest.mark.parametrize("example", JOBS, ids=str)
def test_a_job_is_answered_as_the_document_has_it(example: Example) -> None:
    dialect, request = dialect_named(example.dialect), example.request()
    job = view(example.dialect, example.job)
    inline = dialect.wants_content(request, job)
    assert inline == example.expects.get("inline", False)
    if inline:
        job = view(example.dialect, example.job, base64=BASE64)
    _check(dialect.render(request, job), example, request.route)


def _check(answer: Rendered, example: Example, route: DialectRoute) -> None:
    assert answer.status == example.expects["status"]
    assert json.loads(answer.body) == example.expects["body"]
    assert answer.headers == example.expects.get("headers", {})
    _check_documented(answer, route)


def _check_documented(answer: Rendered, route: DialectRoute) -> None:
    assert answer.status in route.responses, "a status that the route does not document"
    route.responses[answer.status].model_validate_json(answer.body)


@pytest.mark.parametrize("example", JOBS, ids=str)
def test_every_route_answers_about_a_job_in_every_status(example: Example) -> None:
    """A file of results is written with the submit's route, whether the client had waited or not."""
    dialect = dialect_named(example.dialect)
    for route in (one for one in dialect.routes if one.verb != "models"):
        request = ClientRequest(route, dict.fromkeys(route.parameters, "x"), {}, {}, ORIGIN)
        for base64 in (None, BASE64):
            job = view(example.dialect, example.job, base64=base64)
            for shown in (job, replace(job, dialect="another", notes={})):
                answer = dialect.render(request, shown)
                assert isinstance(json.loads(answer.body), dict)
                _check_documented(answer, route)
                assert dialect.wants_content(request, shown) in {True, False}


@pytest.mark.parametrize("example", STREAMS, ids=str)
def test_a_stream_says_what_the_document_has(example: Example) -> None:
    dialect, request = dialect_named(example.dialect), example.request()
    assert isinstance(dialect, StreamingDialect)
    job = view(example.dialect, example.job, base64=BASE64)
    assert events(dialect.stream_begin(request, job.request_id)) == example.expects["begin"]
    assert events(dialect.stream_end(request, job)) == example.expects["end"]


@pytest.mark.parametrize("example", STREAMS, ids=str)
def test_a_stream_ends_for_every_job_and_every_error(example: Example) -> None:
    dialect, request = dialect_named(example.dialect), example.request()
    assert isinstance(dialect, StreamingDialect)
    for status in FINAL:
        job = view(example.dialect, example.job | {"status": status, "notes": {}}, base64=BASE64)
        assert events(dialect.stream_end(request, job))
    for kind, answer in ANSWERS.items():
        refusal = Refusal(kind, answer.status, answer.title, "what is wrong: “this”\n\nand that")
        told = [_texts(event["data"]) for event in events(dialect.stream_refused(request, refusal))]
        assert "what is wrong: “this”\n\nand that" in [text for texts in told for text in texts]


@pytest.mark.parametrize("example", examples("models"), ids=str)
def test_models_are_listed_as_the_document_has_it(example: Example) -> None:
    dialect, request = dialect_named(example.dialect), example.request()
    assert isinstance(dialect, ModelsDialect)
    enabled = [model for model in CATALOG.models if model.enabled]
    _check(dialect.models(request, enabled), example, request.route)


@pytest.mark.parametrize("example", examples("error"), ids=str)
def test_an_error_is_told_as_the_document_has_it(example: Example) -> None:
    kind: type[ImagequeueError] | None = getattr(errors, example.error) if example.error else None
    refusal = Refusal(kind, example.status, example.title, example.message)
    answer = dialect_named(example.dialect).refused(refusal)
    assert (answer.status, json.loads(answer.body)) == (example.expects["status"], example.expects["body"])


@pytest.mark.parametrize("name", NAMES)
def test_every_error_is_told_with_its_message(name: str) -> None:
    dialect = dialect_named(name)
    for kind, answer in ANSWERS.items():
        told = dialect.refused(Refusal(kind, answer.status, answer.title, "what is wrong: “this”"))
        assert 400 <= told.status < 600
        assert "what is wrong: “this”" in _texts(json.loads(told.body))
        _check_refusals(dialect, told)


def _check_refusals(dialect: Dialect, told: Rendered) -> None:
    for route in dialect.routes:
        if told.status in route.responses:
            _check_documented(told, route)


def _texts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [text for one in value.values() for text in _texts(one)]  # pyright: ignore[reportUnknownVariableType]
    return [value]


@pytest.mark.parametrize("name", NAMES)
def test_a_webhook_says_what_the_document_has(name: str) -> None:
    dialect = dialect_named(name)
    told = [example for example in examples("webhook") if example.dialect == name]
    assert bool(told) == isinstance(dialect, WebhookDialect), "only a webhook of its own has examples"
    for example in told:
        assert isinstance(dialect, WebhookDialect)
        body = dialect.webhook_body(view(name, example.job), ORIGIN)
        assert json.loads(json.dumps(body)) == example.expects["body"]
