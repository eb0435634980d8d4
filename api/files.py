"""`/v1/files`: files for batches, as OpenAI's clients send and read them.

Source: docs/design/backfills.md, "Rows".
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from api.auth import authenticate
from api.bulkhead import isolated
from api.change import change
from api.documented import documented, query_parameters
from api.file_models import FILE_CONTENT, FILE_FORM, DeletedFile, FileList, ListedFile
from api.form import FORM, boundary_of
from api.form_stream import FormStream
from api.paced_body import paced_body
from api.parameters import Parameters, read_parameters
from api.query import query
from api.services import ApiServices, services_of
from api.shares import hold, shares_of
from imagequeue.dialects.dialect import SubmittedBody
from imagequeue.dialects.fields import BodyFields, validated
from imagequeue.domain.errors import (
    InvalidRequest,
    NotFound,
    ServiceUnavailable,
    TooLarge,
    TooManyRequests,
    UnsupportedMediaType,
)
from imagequeue.domain.ids import file_name, split_file_name
from imagequeue.lifecycle.backfill.files import FileUpload, begin_upload, hide_file
from imagequeue.media.storage import ObjectMissing, StorageUnavailable
from imagequeue.store.batches.files import StoredFile, find_file, list_files

router = APIRouter(prefix="/v1/files", tags=["Files"])

R = TypeVar("R")

MOST_FILE_BYTES = 1024 * 1024 * 1024
"""Of one file: a million lines of a thousand bytes."""

_MOST_FORM_BYTES = MOST_FILE_BYTES + 64 * 1024
_PART_BYTES = 8 * 1024 * 1024
_READ_BYTES = 1024 * 1024
_LONGEST_NAME = 255
_STORING_SECONDS = 120.0


class FileFields(BodyFields):
    """The text fields of an upload."""

    purpose: Literal["batch", "user_data", "vision"]
    anchor: Annotated[Literal["created_at"] | None, Field(alias="expires_after[anchor]")] = None
    seconds: Annotated[int | None, Field(alias="expires_after[seconds]", ge=3600, le=2_592_000)] = None


class FilePage(Parameters):
    """The query of a list."""

    after: Annotated[str | None, Field(max_length=100)] = None
    limit: Annotated[int, Field(ge=1, le=10_000)] = 1000
    order: Literal["asc", "desc"] = "desc"
    purpose: Annotated[str | None, Field(max_length=100)] = None


_PAGE = query_parameters(
    FilePage,
    {
        "after": "The id that a page begins behind.",
        "limit": "Of a page.",
        "order": "By creation.",
        "purpose": "Only files of this purpose.",
    },
)


@isolated(what="transfers of files", threads=4, patience=_STORING_SECONDS)
def store(services: ApiServices, work: Callable[[], R]) -> R:
    """Write a part to the storage, or read one, in a worker thread."""
    del services
    return work()


@router.post(
    "",
    **documented(ListedFile, InvalidRequest, TooLarge, TooManyRequests, UnsupportedMediaType, body=FILE_FORM),
)
async def create_file(request: Request) -> Response:
    """Upload a file of at most 1 GiB; an account may send two at a time."""
    key = await authenticate(request)
    form = FormStream(_boundary(request), "file")
    services = services_of(request)
    upload = await store(services, lambda: begin_upload(services.runtime, key.account_id))
    try:
        await _receive(request, form, upload)
        fields = _fields(form)
        filename = (form.filename or "file")[:_LONGEST_NAME]
        stored = await store(
            services,
            lambda: upload.finish(purpose=fields.purpose, filename=filename, expires_seconds=fields.seconds),
        )
    except BaseException:
        await store(services, upload.abandon)
        raise
    return _json(_object(stored))


def _boundary(request: Request) -> bytes:
    given = request.headers.get("content-type", "")
    if given.partition(";")[0].strip().casefold() != FORM:
        raise UnsupportedMediaType(f"Content-Type must be {FORM}")
    return boundary_of(given)


async def _receive(request: Request, form: FormStream, upload: FileUpload) -> None:
    """Read the form and pass its file on, a part at a time."""
    part = bytearray()
    async for chunk in paced_body(request, _MOST_FORM_BYTES):
        part += form.feed(chunk)
        if upload.size_bytes + len(part) > MOST_FILE_BYTES:
            raise TooLarge(f"file: larger than {MOST_FILE_BYTES} bytes")
        if len(part) >= _PART_BYTES:
            await _write(request, upload, bytes(part))
            part.clear()
    form.end()
    await _write(request, upload, bytes(part))


async def _write(request: Request, upload: FileUpload, part: bytes) -> None:
    await store(services_of(request), lambda: upload.write(part))


def _fields(form: FormStream) -> FileFields:
    fields = validated(FileFields, SubmittedBody("form", form.fields))
    if (fields.anchor is None) != (fields.seconds is None):
        raise InvalidRequest("expires_after: give anchor and seconds, or neither")
    return fields


@router.get("", **documented(FileList, InvalidRequest, NotFound, parameters=_PAGE))
async def read_files(request: Request) -> Response:
    """The files of the account."""
    account_id = (await authenticate(request)).account_id
    page = read_parameters(request.query_params, FilePage)
    after = None if page.after is None else split_file_name(page.after)
    found = await query(
        services_of(request),
        lambda connection: list_files(
            connection,
            account_id,
            purpose=page.purpose,
            after=after,
            most=page.limit + 1,
            newest_first=page.order == "desc",
        ),
    )
    shown = [_object(one) for one in found[: page.limit]]
    first, last = (shown[0]["id"], shown[-1]["id"]) if shown else (None, None)
    more = len(found) > page.limit
    return _json({"object": "list", "data": shown, "first_id": first, "last_id": last, "has_more": more})


@router.get("/{file_id}", **documented(ListedFile, NotFound))
async def read_file(request: Request, file_id: str) -> Response:
    """A file."""
    return _json(_object(await _own(request, file_id)))


@router.delete("/{file_id}", **documented(DeletedFile, NotFound))
async def delete_file(request: Request, file_id: str) -> Response:
    """Delete a file; its bytes stay until no unfinished batch needs them."""
    account_id = (await authenticate(request)).account_id
    found = split_file_name(file_id)
    await change(services_of(request), lambda runtime: hide_file(runtime, account_id, found))
    return _json({"id": file_id, "object": "file", "deleted": True})


@router.get("/{file_id}/content", response_class=Response, **documented(FILE_CONTENT, NotFound))
async def read_content(request: Request, file_id: str) -> Response:
    """The bytes of a file."""
    file = await _own(request, file_id)
    hold(request, shares_of(request).reads)
    content = _content(services_of(request), file)
    first = await anext(content, b"")  # a storage that is away is told by a status
    headers = {"Content-Length": str(file.size_bytes), "X-Content-Type-Options": "nosniff"}
    return StreamingResponse(_behind(first, content), headers=headers, media_type="application/octet-stream")


async def _content(services: ApiServices, file: StoredFile) -> AsyncGenerator[bytes]:
    storage = services.runtime.storage

    def read(begin: int) -> bytes:
        try:
            return storage.read(file.storage_key, begin, _READ_BYTES)
        except ObjectMissing:
            raise NotFound from None
        except StorageUnavailable as error:
            raise ServiceUnavailable("Files cannot be read at the moment; try again") from error

    for begin in range(0, file.size_bytes, _READ_BYTES):
        yield await store(services, lambda begin=begin: read(begin))


async def _behind(first: bytes, rest: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk


async def _own(request: Request, name: str) -> StoredFile:
    """The caller's file.

    Raises:
        NotFound: there is none.
    """
    key, file_id = await authenticate(request), split_file_name(name)
    found = await query(
        services_of(request), lambda connection: find_file(connection, key.account_id, file_id)
    )
    if found is None:
        raise NotFound(f"No file '{name[:200]}'")
    return found


def _object(file: StoredFile) -> dict[str, Any]:
    expires = {} if file.expires_at is None else {"expires_at": int(file.expires_at.timestamp())}
    return {
        "id": file_name(file.id),
        "object": "file",
        "bytes": file.size_bytes,
        "created_at": int(file.created_at.timestamp()),
        **expires,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
    }


def _json(body: Mapping[str, Any]) -> Response:
    return Response(json.dumps(body), media_type="application/json")
