"""What the webhook of a job that ends has to say, and where it goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from imagequeue.domain.job_view import JobView
from imagequeue.domain.status_body import encode
from imagequeue.store.jobs.settlements import LockedJob
from imagequeue.store.jobs.views import read_views

log = structlog.get_logger()


def own_body(
    connection: Connection,
    job: LockedJob,
    written: Callable[[JobView], Mapping[str, Any]],
    media_url: Callable[[str], str],
) -> str | None:
    """What the job's dialect writes about it; None: it breaks.

    A dialect that breaks must not undo what is settled here: the image is paid, and would be asked for
    again. Its client gets the status body then.
    """
    try:
        told = encode(written(read_views(connection, [job.id], media_url)[job.id]))
        return told.encode("utf-8", "replace").decode()
    except SQLAlchemyError:
        raise
    except Exception as error:  # noqa: BLE001  # its text is not logged: it may hold a prompt
        reason = type(error).__name__
        log.error("webhook_body_failed", job_id=str(job.id), dialect=job.dialect, reason=reason)  # noqa: TRY400
        return None


def target(url: str) -> str:
    """Scheme, host and port of a URL that the egress guard accepted (docs/design/webhooks.md, "Target")."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{parts.hostname}:{port}"
