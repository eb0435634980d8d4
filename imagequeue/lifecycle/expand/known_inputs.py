"""Input images that lines name by URL: they are fetched once for the batch, and the jobs name what is stored.

A line whose images are not fetched yet waits, and those behind it in its flow wait with it; their URLs are
asked for at once, so that they are fetched side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from sqlalchemy import Engine

from imagequeue.domain.batches import LineError
from imagequeue.domain.images import ImageRequest, is_url
from imagequeue.lifecycle.expand.read_lines import PreparedLine
from imagequeue.store.batches.inputs import FILE_SCHEME, FetchedInput, InputUrl, find_inputs, want_inputs

Known = Mapping[InputUrl, FetchedInput]


def with_known_inputs(engine: Engine, batch_id: UUID, lines: Sequence[PreparedLine]) -> list[PreparedLine]:
    """The first of the lines, as far as none waits for an image: with the keys of their own, or refused."""
    wanted = {url for line in lines if line.submission for url in _urls(line.submission.request)}
    if not wanted:
        return list(lines)
    with engine.begin() as connection:
        known = find_inputs(connection, batch_id, wanted)
        if missing := wanted - known.keys():
            want_inputs(connection, batch_id, missing)
    ready = list[PreparedLine]()
    for line in lines:
        found = _resolved(line, known)
        if found is None:
            break
        ready.append(found)
    return ready


def _urls(request: ImageRequest) -> Iterator[InputUrl]:
    yield from (InputUrl(source, False) for source in request.input_images if _is_elsewhere(source))
    if request.mask and _is_elsewhere(request.mask):
        yield InputUrl(request.mask, True)


def _is_elsewhere(source: str) -> bool:
    return is_url(source) or source.startswith(FILE_SCHEME)


def _resolved(line: PreparedLine, known: Known) -> PreparedLine | None:
    """The line as it can become a job, or fail; None: an image of it is not fetched yet."""
    if line.submission is None:
        return line
    request = line.submission.request
    named = {url: known.get(url) for url in _urls(request)}
    for found in named.values():
        if found is not None and found.refusal is not None:
            return PreparedLine(line.number, None, found.refusal, LineError.INPUT_IMAGE)
    keys = {url: found.storage_key for url, found in named.items() if found and found.storage_key}
    if len(keys) < len(named):
        return None
    images = tuple(keys.get(InputUrl(source, False), source) for source in request.input_images)
    mask = request.mask and keys.get(InputUrl(request.mask, True), request.mask)
    stored = replace(request, input_images=images, mask=mask)
    return PreparedLine(line.number, replace(line.submission, request=stored))
