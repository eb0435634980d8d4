"""A small S3 server that leaves out what published reports say that small and old servers leave out.

It ignores conditional puts, or refuses them with 409 or 501. It refuses requests with checksums and trailers,
knows neither bulk deletes nor policies nor lists, and answers 403 for a key that is not there, as AWS does to
a user without `s3:ListBucket`. Strangers may do nothing. Credentials are not verified, except for one name.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Literal

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Conditions = Literal["honoured", "ignored", "409", "501"]
REVOKED = "revoked"
"""The name of a user who may do nothing any more."""

_NAMES = {
    403: "AccessDenied",
    404: "NoSuchBucket",
    409: "ConditionalRequestConflict",
    412: "PreconditionFailed",
}


@dataclass
class SmallS3:
    """Its objects by bucket and key, with their media types; `asked` has method and key of each request.

    `parts` has those of the multipart uploads that have not ended; part 0 is their media type. The next
    `conflicts` conditional puts are answered with 409, as while another put of the key is under way.
    """

    conditions: Conditions = "ignored"
    buckets: dict[str, dict[str, tuple[bytes, str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    conflicts: int = 0
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)

    def app(self) -> Starlette:
        """The server, to be run."""
        methods = ["GET", "HEAD", "PUT", "POST", "DELETE"]
        return Starlette(
            routes=[
                Route("/{bucket}", self._bucket, methods=methods),
                Route("/{bucket}/{key:path}", self._object, methods=methods),
            ]
        )

    async def _bucket(self, request: Request) -> Response:
        bucket = request.path_params["bucket"]
        self.asked.append(f"{request.method} {request.url.query}")
        if not _is_signed(request) or request.query_params:
            return _refusal(403 if not _is_signed(request) else 501)
        if request.method == "PUT":
            self.buckets.setdefault(bucket, {})
            return Response()
        return Response() if bucket in self.buckets else _refusal(404)

    async def _object(self, request: Request) -> Response:
        key, objects = request.path_params["key"], self.buckets.get(request.path_params["bucket"])
        self.asked.append(f"{request.method} {key}")
        body = await request.body()
        if not _is_signed(request):
            return _refusal(403)
        if objects is None:
            return _refusal(404)
        if request.method == "POST" or "uploadId" in request.query_params:
            return self._multipart(request, objects, key, body)
        if request.method == "DELETE":
            objects.pop(key, None)
            return Response(status_code=204)
        if request.method == "PUT":
            return self._put(request, objects, key, body)
        return _sent(request, *objects[key]) if key in objects else _refusal(403)

    def _multipart(
        self, request: Request, objects: dict[str, tuple[bytes, str]], key: str, body: bytes
    ) -> Response:
        upload = request.query_params.get("uploadId", "")
        if not upload:
            upload = str(len(self.asked))
            self.parts[upload] = {0: request.headers.get("content-type", "").encode()}
            return _xml("InitiateMultipartUploadResult", f"<UploadId>{upload}</UploadId>")
        if request.method == "DELETE":
            self.parts.pop(upload, None)
            return Response(status_code=204)
        if request.method == "PUT":
            self.parts[upload][int(request.query_params["partNumber"])] = body
            return Response(headers={"ETag": _tag(body)})
        media_type, *parts = (part for _, part in sorted(self.parts.pop(upload).items()))
        objects[key] = (b"".join(parts), media_type.decode())
        return _xml("CompleteMultipartUploadResult", f"<Key>{key}</Key>")

    def _put(
        self, request: Request, objects: dict[str, tuple[bytes, str]], key: str, body: bytes
    ) -> Response:
        if _has_checksum(request):
            return _refusal(501)
        if self.conflicts and "if-none-match" in request.headers:
            self.conflicts -= 1
            return _refusal(409)
        if "if-none-match" in request.headers and self.conditions != "ignored":
            if self.conditions != "honoured":
                return _refusal(int(self.conditions))
            if key in objects:
                return _refusal(412)
        objects[key] = (body, request.headers.get("content-type", ""))
        return Response(headers={"ETag": _tag(body)})


def _is_signed(request: Request) -> bool:
    text = request.headers.get("authorization", "") + request.query_params.get("X-Amz-Credential", "")
    return bool(text) and REVOKED not in text


def _has_checksum(request: Request) -> bool:
    names = [name for name in request.headers if re.match("x-amz-(checksum|sdk-checksum|trailer)", name)]
    return bool(names) or "aws-chunked" in request.headers.get("content-encoding", "")


def _sent(request: Request, content: bytes, media_type: str) -> Response:
    headers = {"ETag": _tag(content), "Content-Type": media_type}
    part = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("range", ""))
    if not part:
        return Response(content, headers=headers)
    begin, end = int(part[1]), min(int(part[2]) + 1, len(content))
    if begin >= len(content):
        return _refusal(416)
    headers["Content-Range"] = f"bytes {begin}-{end - 1}/{len(content)}"
    return Response(content[begin:end], 206, headers)


def _tag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


def _xml(name: str, text: str) -> Response:
    return Response(f"<{name}>{text}</{name}>", media_type="application/xml")


def _refusal(status: int) -> Response:
    name = {416: "InvalidRange", 501: "NotImplemented"}.get(status) or _NAMES[status]
    return Response(f"<Error><Code>{name}</Code></Error>", status, media_type="application/xml")
