"""An object storage that speaks the part of S3 which the product uses, and refuses puts on demand."""

from __future__ import annotations

import hashlib
import re
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from chaos.multipart import MultipartUploads, completed

_REFUSAL = (
    b'<?xml version="1.0"?><Error><Code>ServiceUnavailable</Code><Message>No puts now.</Message></Error>'
)
_EXISTS = b'<?xml version="1.0"?><Error><Code>PreconditionFailed</Code><Message>It exists.</Message></Error>'
_MISSING = b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code><Message>No such key.</Message></Error>'

_NO_UPLOAD = (
    b'<?xml version="1.0"?><Error><Code>NoSuchUpload</Code><Message>No such upload.</Message></Error>'
)
_UNKNOWN = (
    b'<?xml version="1.0"?><Error><Code>NotImplemented</Code><Message>Not spoken here.</Message></Error>'
)

_RANGE = re.compile(r"bytes=(?P<begin>\d+)-(?P<last>\d+)")


class Bucket:
    """A server on loopback with its objects by key. `url` is the endpoint; every bucket name is taken.

    While `refusing` is set every put, of an object or a part, is answered with 503 and counted in `refused`.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.uploads = MultipartUploads()
        self.refused = 0
        self.refusing = threading.Event()
        self.lock = threading.Lock()
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="bucket", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: workers are killed in the middle of requests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class names it so
        """Print nothing."""

    def do_PUT(self) -> None:
        """Store an object, or refuse to replace one (`If-None-Match: *`); or store a part of an upload."""
        length = int(self.headers.get("Content-Length", "0"))
        content, bucket = self.rfile.read(length), self.server.bucket
        if len(content) < length:
            raise ConnectionResetError("S3 keeps no part of what did not come whole")
        if bucket.refusing.is_set():
            bucket.refused += 1
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, _REFUSAL)
            return
        if "uploadId" in self._query:
            number = int(self._query["partNumber"])
            is_there = bucket.uploads.put(self._query["uploadId"], number, content)
            self._answer_upload(b"" if is_there else None, etag=content)
            return
        with bucket.lock:
            if self.headers.get("If-None-Match") == "*" and self._key in bucket.objects:
                self._answer(HTTPStatus.PRECONDITION_FAILED, _EXISTS)
                return
            bucket.objects[self._key] = content
        self._answer(HTTPStatus.OK, b"", etag=content)

    def do_POST(self) -> None:
        """Begin a multipart upload, or make an object of its parts. Nothing else is posted here."""
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        bucket = self.server.bucket
        if "uploads" in self._query:
            self._answer(HTTPStatus.OK, bucket.uploads.begin(self._key))
        elif "uploadId" in self._query:
            content = bucket.uploads.close(self._query["uploadId"])
            if content is not None:
                bucket.objects[self._key] = content
            self._answer_upload(None if content is None else completed(self._key))
        else:
            self._answer(HTTPStatus.NOT_IMPLEMENTED, _UNKNOWN)

    def do_GET(self) -> None:
        """Send an object, or the part that `Range` names by its first and its last byte; or list uploads."""
        if "uploads" in self._query:
            found = self.server.bucket.uploads.listed(self._query.get("prefix", ""))
            self._answer(HTTPStatus.OK, found)
            return
        content = self.server.bucket.objects.get(self._key)
        part = _RANGE.fullmatch(self.headers.get("Range", ""))
        if content is None:
            self._answer(HTTPStatus.NOT_FOUND, _MISSING)
        elif part is None:
            self._answer(HTTPStatus.OK, content, etag=content)
        else:
            begin, last = int(part["begin"]), min(int(part["last"]), len(content) - 1)
            span = f"bytes {begin}-{last}/{len(content)}"
            self._answer(HTTPStatus.PARTIAL_CONTENT, content[begin : last + 1], etag=content, span=span)

    def do_HEAD(self) -> None:
        """Say whether there is an object."""
        self.do_GET()

    def do_DELETE(self) -> None:
        """Remove an object, or abort a multipart upload."""
        if "uploadId" in self._query:
            self.server.bucket.uploads.close(self._query["uploadId"])
            self._answer(HTTPStatus.NO_CONTENT, b"")
            return
        self.server.bucket.objects.pop(self._key, None)
        self._answer(HTTPStatus.NO_CONTENT, b"")

    @property
    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).split("/", 2)[-1]

    @property
    def _query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))

    def _answer_upload(self, body: bytes | None, *, etag: bytes | None = None) -> None:
        """Answer about an upload; without a body there is none of that id."""
        if body is None:
            self._answer(HTTPStatus.NOT_FOUND, _NO_UPLOAD)
        else:
            self._answer(HTTPStatus.OK, body, etag=etag)

    def _answer(
        self, status: HTTPStatus, body: bytes, *, etag: bytes | None = None, span: str | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if etag is not None:
            self.send_header("ETag", f'"{hashlib.md5(etag, usedforsecurity=False).hexdigest()}"')
        if span is not None:
            self.send_header("Content-Range", span)
        self.end_headers()
        if self.command != "HEAD" and body:
            self.wfile.write(body)
