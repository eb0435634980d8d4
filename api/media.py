"""`GET /media/{token}/{key}`: a stored image. The token in the URL authorises the request; no key is needed.

A file of a local directory is sent as it is and may be cached for ever, because a key always names the same
bytes; a client that has them already is answered 304. For a bucket the answer is a redirect to a fresh
presigned URL.
"""

from __future__ import annotations

import asyncio
import re
from hashlib import sha256
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, RedirectResponse

from api.answer_models import IMAGES
from api.documented import documented
from api.services import services_of
from imagequeue.domain.errors import NotFound, ServiceUnavailable
from imagequeue.media.local import LocalStorage
from imagequeue.media.storage import Storage, StorageUnavailable

router = APIRouter(tags=["Media"])

_TYPES = {".png": "image/png", ".jpeg": "image/jpeg", ".webp": "image/webp"}
_FOR_EVER = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}
_FOR_ALL_ORIGINS = {"Access-Control-Allow-Origin": "*"}
"""The token in the URL is all that it takes, so scripts of any page may read the image."""

_TAG = re.compile(r'(?:W/)?("[^"]*")')


@router.get(
    "/media/{token}/{key:path}",
    response_class=Response,
    **documented(
        IMAGES,
        NotFound,
        needs=(),
        more={
            302: "The image is in a bucket, at the address in `Location`.",
            304: "The client has it: its `If-None-Match` names the `ETag` of the image.",
        },
    ),
)
async def read_media(request: Request, token: str, key: str) -> Response:
    """One stored image."""
    services = services_of(request)
    if not services.runtime.keyring.is_media_token(key, token):
        raise NotFound
    storage = services.runtime.storage
    if isinstance(storage, LocalStorage):
        return await asyncio.to_thread(_file, storage, key, request.headers.getlist("if-none-match"))
    return await asyncio.to_thread(_redirect, storage, key)


def _file(storage: LocalStorage, key: str, known: list[str]) -> Response:
    path, tag = _existing(storage, key), f'"{sha256(key.encode()).hexdigest()[:32]}"'
    headers = _FOR_EVER | _FOR_ALL_ORIGINS | {"ETag": tag}
    tags = ",".join(known)
    if tags.strip() == "*" or tag in _TAG.findall(tags):
        return Response(status_code=304, headers=headers)
    media_type = _TYPES.get(path.suffix, "application/octet-stream")
    return FileResponse(path, headers=headers, media_type=media_type)


def _existing(storage: LocalStorage, key: str) -> Path:
    try:
        path = storage.path(key)
    except ValueError:
        raise NotFound from None
    if not path.is_file():
        raise NotFound
    return path


def _redirect(storage: Storage, key: str) -> Response:
    try:
        url = storage.url(key)
    except (StorageUnavailable, ValueError):
        raise ServiceUnavailable from None
    if url is None:
        raise NotFound
    return RedirectResponse(url, 302, {"Cache-Control": "no-store"} | _FOR_ALL_ORIGINS)
