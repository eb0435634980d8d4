"""The query of `GET /v2/requests`. Every parameter is checked, and an unknown one is refused by its name."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field
from starlette.datastructures import QueryParams

from api.bulkhead import isolated
from api.documented import query_parameters
from api.parameters import COMMAS, Parameters, read_parameters
from api.services import ApiServices
from imagequeue.domain.catalog import Catalog
from imagequeue.domain.errors import ServiceUnavailable, UnknownModel
from imagequeue.domain.jobs import JobStatus
from imagequeue.store.database import TooSlow, at_most
from imagequeue.store.jobs.reads import JobFilter, RequestStatus, list_jobs

_FIRST_YEAR = 2000
_LAST_YEAR = 9000

LIST_SECONDS = 4.0
"""What a list may take in the database: less than its caller waits, so nobody works for nobody."""
_SLOW_LIST = "The list takes too long: ask for a shorter time with created_after and created_before"


def _plausible(moment: datetime) -> datetime:
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise ValueError("is not a plausible time")
    return moment


Moment = Annotated[AwareDatetime, Field(strict=False), AfterValidator(_plausible)]
"""A time as text, also in a JSON body whose other fields are strict."""


class Listing(Parameters):
    """The parameters, as the query has them."""

    status: Annotated[tuple[JobStatus, ...], COMMAS] = ()
    model: Annotated[str, Field(pattern=r"\S")] | None = None
    batch: UUID | None = None
    created_after: Moment | None = None
    created_before: Moment | None = None
    cursor: UUID | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20


PARAMETERS = query_parameters(
    Listing,
    {
        "status": "Only jobs with one of these statuses.",
        "model": "Only jobs of this model: its id or an alias.",
        "batch": "Only jobs of this batch.",
        "created_after": "Only jobs that were submitted at this time or later.",
        "created_before": "Only jobs that were submitted before this time.",
        "cursor": "The `next_cursor` of the page before.",
        "limit": "How many jobs a page has at most; without it 20.",
    },
)
"""The query for the documentation of the API."""


@isolated(what="lists", threads=2)
def read_page(services: ApiServices, wanted: JobFilter) -> list[RequestStatus]:
    """One page of a list; lists have threads of their own, so a slow one delays nothing but lists.

    Raises:
        ServiceUnavailable: it takes longer than `LIST_SECONDS`.
    """
    try:
        with services.runtime.engine.begin() as connection, at_most(connection, LIST_SECONDS):
            return list_jobs(connection, wanted)
    except TooSlow:
        raise ServiceUnavailable(_SLOW_LIST) from None


def read_listing(query: QueryParams, account_id: UUID, catalog: Catalog) -> JobFilter:
    """Read the query.

    Raises:
        InvalidRequest: names the parameter and what is wrong with it.
    """
    listing = read_parameters(query, Listing, repeated={"status"})
    return JobFilter(
        account_id=account_id,
        statuses=listing.status,
        model_id=listing.model and _model_id(catalog, listing.model),
        batch_id=listing.batch,
        created_after=listing.created_after,
        created_before=listing.created_before,
        before=listing.cursor,
        limit=listing.limit,
    )


def _model_id(catalog: Catalog, name: str) -> str:
    """The id behind a name; a model that the catalog no longer has is asked for by its id."""
    try:
        return catalog.model(name).id
    except UnknownModel:
        return name.replace("\0", "")
