"""`/v1/files`: the released openai package works with it; what breaks off leaves nothing."""

from __future__ import annotations

import hashlib
import io
import socket
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from openai import NotFoundError, OpenAI
from sqlalchemy import text

from imagequeue.lifecycle.backfill.files import FileRetention
from tests.api.service import Client, Service
from tests.eventually import eventually

MIB = 1024 * 1024


def openai(client: Client) -> OpenAI:
    return OpenAI(base_url=f"{client.service.url}/v1", api_key=client.key)


def stored(service: Service) -> list[Path]:
    root = Path(service.runtime.settings.storage_url.removeprefix("file://"))
    return [path for path in root.rglob("*") if path.is_file()]


def files(service: Service) -> int:
    with service.engine.connect() as connection:
        return connection.execute(text("SELECT count(*) FROM files")).scalar_one()


def test_the_openai_package_uploads_lists_reads_and_deletes(client: Client) -> None:
    content = b"".join(b'{"custom_id": "%d"}\n' % number for number in range(1_000_000))
    with openai(client) as api:
        made = api.files.create(
            file=("lines.jsonl", io.BytesIO(content)),
            purpose="batch",
            expires_after={"anchor": "created_at", "seconds": 3600},
        )
        assert (made.bytes, made.filename, made.purpose) == (len(content), "lines.jsonl", "batch")
        assert made.expires_at == made.created_at + 3600
        other = api.files.create(file=b"x", purpose="user_data")
        assert [one.id for one in api.files.list()] == [other.id, made.id]
        assert [one.id for one in api.files.list(limit=1, order="asc")] == [made.id, other.id]
        assert [one.id for one in api.files.list(purpose="batch")] == [made.id]
        assert api.files.retrieve(made.id) == made
        assert api.files.content(made.id).read() == content
        assert api.files.delete(made.id).deleted
        for call in (api.files.retrieve, api.files.content, api.files.delete):
            with pytest.raises(NotFoundError):
                call(made.id)
        assert [one.id for one in api.files.list()] == [other.id]
    with client.service.engine.connect() as connection:
        digest = connection.execute(text("SELECT sha256 FROM files WHERE purpose = 'batch'")).scalar_one()
    assert bytes(digest) == hashlib.sha256(content).digest()


def test_the_bytes_of_a_deleted_file_are_removed(service: Service, client: Client) -> None:
    with openai(client) as api:
        kept = api.files.create(file=b"kept", purpose="batch")
        api.files.delete(api.files.create(file=b"over", purpose="batch").id)
        retention = FileRetention(service.engine, service.runtime.storage)
        assert retention.run_once() == 1
        assert retention.run_once() == 0
        assert [path.read_bytes() for path in stored(service)] == [b"kept"]
        assert api.files.content(kept.id).read() == b"kept"


def test_another_account_does_not_see_a_file(service: Service, client: Client) -> None:
    with openai(client) as own, openai(service.client("other")) as other:
        made = own.files.create(file=b"x", purpose="batch")
        assert list(other.files.list()) == []
        with pytest.raises(NotFoundError):
            other.files.retrieve(made.id)


def _begin(client: Client, content: bytes, announced: int) -> socket.socket:
    """Send the head of an upload and the beginning of its file, and keep the connection open."""
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    host, port = urlsplit(client.service.url).netloc.split(":")
    connection = socket.create_connection((host, int(port)))
    connection.sendall(
        f"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {client.key}\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {announced}\r\n\r\n".encode()
        + head
        + content
    )
    return connection


def test_an_upload_that_breaks_off_leaves_nothing(service: Service, client: Client) -> None:
    with _begin(client, b"x" * 9 * MIB, 20 * MIB):
        eventually(lambda: len(stored(service)) == 1)
    eventually(lambda: not stored(service))
    eventually(lambda: FileRetention(service.engine, service.runtime.storage).run_once() == 1)
    assert files(service) == 0


def test_an_account_uploads_two_files_at_a_time(service: Service, client: Client) -> None:
    with _begin(client, b"x", 20 * MIB), _begin(client, b"x", 20 * MIB):
        eventually(lambda: files(service) == 2)
        refused = client.http.post("/v1/files", files={"file": b"x"}, data={"purpose": "batch"})
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
        with openai(service.client("other")) as other:
            assert other.files.create(file=b"x", purpose="batch").bytes == 1


@pytest.mark.parametrize("announced", [2**30 + 2**20, 10**15])
def test_a_file_over_a_gibibyte_is_refused_by_its_head(client: Client, announced: int) -> None:
    with _begin(client, b"x", announced) as connection, HTTPResponse(connection) as answer:
        answer.begin()
        assert (answer.status, b"larger than" in answer.read()) == (413, True)


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({"data": {"purpose": "batch"}, "files": {"other": b"x"}}, "file: Field required"),
        ({"data": {}, "files": {"file": b"x"}}, "purpose: Field required"),
        ({"data": {"purpose": "fine-tune"}, "files": {"file": b"x"}}, "purpose:"),
        ({"data": {"purpose": "batch", "more": "x"}, "files": {"file": b"x"}}, "Unknown field 'more'"),
        (
            {"data": {"purpose": "batch", "expires_after[seconds]": "3600"}, "files": {"file": b"x"}},
            "expires_after: give anchor and seconds",
        ),
    ],
)
def test_a_form_that_is_wrong_is_refused_by_the_field(
    service: Service, client: Client, form: dict[str, Any], told: str
) -> None:
    refused = client.http.post("/v1/files", data=form["data"], files=form["files"])
    assert refused.status_code == 400
    assert told in refused.json()["error"]["message"]
    assert stored(service) == []
