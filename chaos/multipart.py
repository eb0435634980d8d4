"""Multipart uploads of the bucket: numbered parts, which become an object when the upload is completed."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import uuid4
from xml.sax.saxutils import escape


@dataclass(slots=True)
class _Upload:
    key: str
    begun: str
    parts: dict[int, bytes] = field(default_factory=dict[int, bytes])


class MultipartUploads:
    """Uploads that are open, by their ids."""

    def __init__(self) -> None:
        self._open: dict[str, _Upload] = {}
        self._lock = threading.Lock()

    def begin(self, key: str) -> bytes:
        """Open an upload; the answer with its id."""
        upload_id = uuid4().hex
        with self._lock:
            self._open[upload_id] = _Upload(key, datetime.now(UTC).isoformat())
        return _document("InitiateMultipartUploadResult", f"<UploadId>{upload_id}</UploadId>")

    def put(self, upload_id: str, number: int, content: bytes) -> bool:
        """Store a part, or replace it; False: there is no such upload."""
        with self._lock:
            upload = self._open.get(upload_id)
            if upload is not None:
                upload.parts[number] = content
        return upload is not None

    def close(self, upload_id: str) -> bytes | None:
        """Forget an upload; its parts as one, or None if there is no such upload."""
        with self._lock:
            upload = self._open.pop(upload_id, None)
        return None if upload is None else b"".join(upload.parts[number] for number in sorted(upload.parts))

    def listed(self, prefix: str) -> bytes:
        """The answer with the uploads below a prefix."""
        with self._lock:
            found = [(id_, one) for id_, one in self._open.items() if one.key.startswith(prefix)]
        entries = (
            f"<Upload><Key>{escape(one.key)}</Key><UploadId>{id_}</UploadId>"
            f"<Initiated>{one.begun}</Initiated></Upload>"
            for id_, one in found
        )
        return _document("ListMultipartUploadsResult", "".join(entries))


def completed(key: str) -> bytes:
    """The answer to the end of an upload."""
    return _document("CompleteMultipartUploadResult", f"<Key>{escape(key)}</Key>")


def _document(name: str, content: str) -> bytes:
    namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
    return f'<?xml version="1.0"?><{name} xmlns="{namespace}">{content}</{name}>'.encode()
