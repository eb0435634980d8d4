"""The wiring of backfills: the verbs of batches, put together as `wiring.py` does it for all others."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial

from imagequeue.dialects.line_answers import answer_line, wants_content
from imagequeue.domain.job_view import JobView
from imagequeue.lifecycle.backfill.result_files import ResultFiles, files_of_end
from imagequeue.lifecycle.backfill.result_lines import LineAnswer, ResultLines
from imagequeue.lifecycle.supervise.supervise import WriteFiles
from imagequeue.media_urls import media_urls
from imagequeue.runtime import Runtime


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
