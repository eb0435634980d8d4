"""What the routes of lines would have answered, once the jobs of the lines are final."""

from __future__ import annotations

from collections.abc import Mapping

from imagequeue.dialects.dialect import ClientRequest, Dialect, Rendered
from imagequeue.dialects.registry import DIALECTS
from imagequeue.domain.job_view import JobView


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
