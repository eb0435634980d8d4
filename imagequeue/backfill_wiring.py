"""The wiring of backfills: the verbs of batches, put together as `wiring.py` does it for all others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial

from imagequeue import wiring
from imagequeue.dialects.line_answers import answer_line, wants_content
from imagequeue.dialects.lines import LineReader, LineTerms, read_line
from imagequeue.domain.catalog import Catalog
from imagequeue.domain.job_view import JobView
from imagequeue.domain.webhooks import parse_schedule
from imagequeue.lifecycle.backfill.check_line import ReadText
from imagequeue.lifecycle.backfill.files import FileRetention
from imagequeue.lifecycle.backfill.result_files import ResultFiles, files_of_end
from imagequeue.lifecycle.backfill.result_lines import LineAnswer, ResultLines
from imagequeue.lifecycle.backfill.validate import Validation
from imagequeue.lifecycle.dispatch.eligibility import Eligibility
from imagequeue.lifecycle.expand.expand import Expander
from imagequeue.lifecycle.generate.fetch_batch_inputs import BatchInputs
from imagequeue.lifecycle.settle.settle import Settlement
from imagequeue.lifecycle.submit.uploads import RequestWithUploads
from imagequeue.lifecycle.supervise.control import BatchControl
from imagequeue.lifecycle.supervise.events import BatchEvents
from imagequeue.lifecycle.supervise.reasons import Reasons
from imagequeue.lifecycle.supervise.supervise import Supervision, WriteFiles
from imagequeue.media_urls import media_urls
from imagequeue.runtime import Runtime
from imagequeue.store.batches.expansion import BatchTerms


def result_files(runtime: Runtime, stopping: threading.Event) -> ResultFiles:
    """What writes the files of the batches that end; when `stopping` is set, none is begun."""
    origin = runtime.settings.public_origin

    def answer(job: JobView, headers: Mapping[str, str]) -> LineAnswer:
        told = answer_line(job, headers, origin)
        return LineAnswer(told.status, told.body)

    def wants(job: JobView, headers: Mapping[str, str]) -> bool:
        return wants_content(job, headers, origin)

    writer = ResultLines(answer, wants, runtime.storage.get)
    return ResultFiles(runtime, writer, media_urls(runtime.settings, runtime.keyring), stopping.is_set)


def written_files(runtime: Runtime) -> WriteFiles:
    """The files of a batch that ends, once they are written."""
    return partial(files_of_end, runtime.engine)


def batch_inputs(runtime: Runtime) -> BatchInputs:
    """What fetches the input images of batches."""
    return BatchInputs(runtime.engine, wiring.inputs(runtime))


def batch_reasons(runtime: Runtime) -> Reasons:
    """What says why batches are paused."""
    return Reasons(runtime.engine, BatchEvents(parse_schedule(runtime.settings.webhook_schedule)))


def batch_control(runtime: Runtime) -> BatchControl:
    """What a person does with a batch."""
    return BatchControl(runtime.engine, batch_reasons(runtime))


def supervision(runtime: Runtime, settlement: Settlement, write_files: WriteFiles) -> Supervision:
    """The verb `supervise`; `write_files` has the results of a batch that ends written."""
    return Supervision(runtime.engine, settlement, batch_reasons(runtime), write_files)


def expander(runtime: Runtime, eligibility: Callable[[], Eligibility], wake: Callable[[], None]) -> Expander:
    """The verb `expand`; `eligibility` is the dispatcher's, `wake` says that jobs wait."""

    def read(text: bytes, terms: BatchTerms, catalog: Catalog) -> tuple[str, RequestWithUploads]:
        shared = LineTerms(terms.endpoint, terms.client_headers, runtime.settings.public_origin)
        line = read_line(text, shared, catalog)
        return line.dialect, line.ask

    return Expander(runtime, eligibility, read, batch_reasons(runtime).record, wake)


def validation(runtime: Runtime, stopping: threading.Event) -> Validation:
    """The verb `validate`, for the files of batches; `stopping` is set when the process is to end."""

    def open_reader(endpoint: str | None, headers: Mapping[str, str]) -> ReadText:
        terms = LineTerms(endpoint, headers, runtime.settings.public_origin)
        return LineReader(terms, runtime.catalog).read

    return Validation(runtime, open_reader, stopping)


def file_retention(runtime: Runtime) -> FileRetention:
    """What removes files that are deleted or expired, and what broken uploads left."""
    return FileRetention(runtime.engine, runtime.storage)
