"""Jobs with their images, as dialects write about them. Takes lists, so a group of requests is one query."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from imagequeue.domain.images import ImageRequest
from imagequeue.domain.job_view import JobView, OutputImage
from imagequeue.domain.jobs import JobStatus

_JOBS = text("""
    SELECT jobs.id, status, created_at, updated_at, finished_at, price_usd, flows.model_id,
        prompt, parameters, dialect, notes, job_results.error
    FROM jobs
    JOIN flows ON flows.id = flow_id
    JOIN job_requests ON job_requests.job_id = jobs.id
    LEFT JOIN job_results ON job_results.job_id = jobs.id
    WHERE jobs.id = ANY(:ids) AND forgotten_at IS NULL
""")

_IMAGES = text("""
    SELECT job_id, storage_key, media_type, width, height, size_bytes, sha256 FROM images
    WHERE job_id = ANY(:ids) ORDER BY job_id, ordinal
""")


def read_views(
    connection: Connection, ids: Sequence[UUID], media_url: Callable[[str], str]
) -> dict[UUID, JobView]:
    """The jobs that exist and are not forgotten, whoever owns them; `media_url` names a stored object.

    Images are those of a job that is COMPLETED: of any other, what is stored so far is nobody's yet.
    """
    rows = connection.execute(_JOBS, {"ids": list(ids)}).all()
    completed = [row.id for row in rows if row.status == JobStatus.COMPLETED]
    images = _images(connection, completed, media_url) if completed else {}
    return {row.id: _view(row, images.get(row.id, ())) for row in rows}


def _images(
    connection: Connection, ids: Sequence[UUID], media_url: Callable[[str], str]
) -> dict[UUID, tuple[OutputImage, ...]]:
    found: dict[UUID, list[OutputImage]] = defaultdict(list)
    for row in connection.execute(_IMAGES, {"ids": list(ids)}):
        url = media_url(row.storage_key)
        size = (row.width, row.height, row.size_bytes)
        image = OutputImage(row.storage_key, url, row.media_type, *size, sha256=row.sha256)
        found[row.job_id].append(image)
    return {job_id: tuple(images) for job_id, images in found.items()}


def _view(row: Row[*tuple[Any, ...]], images: tuple[OutputImage, ...]) -> JobView:
    return JobView(
        job_id=row.id,
        request=ImageRequest.from_parameters(row.model_id, row.prompt, row.parameters),
        dialect=row.dialect,
        status=JobStatus(row.status),
        created_at=row.created_at,
        updated_at=row.updated_at,
        completed_at=row.finished_at,
        price_usd=row.price_usd,
        error=row.error,
        images=images,
        notes=json.loads(row.notes) if row.notes else {},
    )
