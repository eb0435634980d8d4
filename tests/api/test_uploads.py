"""Uploads over HTTP, by the edit route of Pixazo: exactly one image, by data URL or http(s) URL."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from PIL import Image
from sqlalchemy import Engine, text

from imagequeue.media.gate import DECODING
from imagequeue.media.inputs import prepare_input
from imagequeue.media.keys import input_key
from imagequeue.media_urls import media_urls
from tests.api.service import Client, Service, serving, title_and_message
from tests.builders import MODEL
from tests.media.pictures import bomb, picture

ROUTE = f"/{MODEL}-edit/v1/{MODEL}-edit-request"
NOTHING = {"jobs": 0, "job_requests": 0, "events": 0, "ledger_entries": 1, "idempotency_keys": 0}
URL = "https://images.example.com/cat.png"


def data_url(content: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def edit(client: Client, *urls: Any, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    body = {"prompt": "make it blue", "image_urls": list(urls), **fields}
    return client.http.post(ROUTE, json=body, headers=headers)


def named_inputs(service: Service) -> list[str]:
    query = "SELECT parameters -> 'input_images' FROM job_requests ORDER BY job_id"
    with service.engine.connect() as connection:
        return [key for row in connection.execute(text(query)) for key in row[0]]


def stored_files(directory: Path) -> list[str]:
    media = directory / "media"
    return sorted(str(path.relative_to(media)) for path in media.rglob("*") if path.is_file())


def test_a_data_url_is_decoded_and_stored_once_under_its_content(
    client: Client, service: Service, tmp_path: Path
) -> None:
    answers = [edit(client, data_url(picture()), prompt=f"edit {number}") for number in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json()["request_id"].startswith(f"{MODEL}-edit_")
    (file,) = stored_files(tmp_path)
    content = service.runtime.storage.get(file)
    assert file == f"inputs/{hashlib.sha256(content).hexdigest()}"
    assert named_inputs(service) == [file, file]
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.size) == ("PNG", (40, 30))


def test_the_job_says_that_it_is_an_edit(client: Client) -> None:
    answer = edit(client, data_url(picture()), num_images=2, aspect_ratio="auto")
    status = client.status(answer.json()["request_id"]).json()
    assert (status["model_id"], status["status"]) == (f"{MODEL}-edit", "QUEUED")


def test_a_web_url_is_kept_for_the_worker(client: Client, service: Service, tmp_path: Path) -> None:
    urls = [URL, "http://images.example.com/cat.png", URL.upper()]
    assert [edit(client, url).status_code for url in urls] == [202] * 3
    assert named_inputs(service) == urls
    assert stored_files(tmp_path) == []


def test_data_may_be_percent_encoded(client: Client, service: Service) -> None:
    quoted = "".join(f"%{byte:02x}" for byte in picture())
    assert edit(client, f"data:image/png,{quoted}").status_code == 202
    assert len(named_inputs(service)) == 1


_BASE64 = base64.b64encode(picture()).decode()
WRITTEN = {
    "as a browser writes it": f"data:image/png;base64,{_BASE64}",
    "in lines": "data:image/png;base64,"
    + "\r\n".join(_BASE64[at : at + 76] for at in range(0, len(_BASE64), 76)),
    "with spaces and tabs": "data:image/png;base64, " + _BASE64[:9] + "\t " + _BASE64[9:],
    "with a line break at its end": f"data:image/png;base64,{_BASE64}\n",
    "with spaces around it": f"  data:image/png;base64,{_BASE64} ",
    "without padding": f"data:image/png;base64,{_BASE64.rstrip('=')}",
    "percent-encoded base64": f"data:image/png;base64,{quote(_BASE64, safe='')}",
    "escaped line breaks": f"data:image/png;base64,{_BASE64[:8]}%0A{_BASE64[8:]}",
    "in the alphabet for URLs": f"data:image/png;base64,{_BASE64.replace('+', '-').replace('/', '_')}",
    "without a type": f"data:;base64,{_BASE64}",
    "with a parameter": f"data:image/png;name=a.png;base64,{_BASE64}",
    "in capitals": f"DATA:IMAGE/PNG;BASE64,{_BASE64}",
    "with a space before base64": f"data:image/png; base64,{_BASE64}",
    "of another type": f"data:text/plain;base64,{_BASE64}",
    "percent-encoded bytes": "data:image/png," + "".join(f"%{byte:02X}" for byte in picture()),
}


@pytest.mark.parametrize("url", WRITTEN.values(), ids=WRITTEN.keys())
def test_a_data_url_is_taken_however_it_is_written(client: Client, service: Service, url: str) -> None:
    assert edit(client, url).status_code == 202
    assert named_inputs(service) == [input_key(prepare_input(picture()).content)]


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_the_media_url_of_an_earlier_job_is_an_input_and_is_not_fetched(
    client: Client, service: Service, kind: str
) -> None:
    key = f"v1/job/attempt/output.{kind}"
    service.runtime.storage.put(key, picture(kind), f"image/{kind}")
    url = media_urls(service.runtime.settings, service.runtime.keyring)(key)
    assert edit(client, url).status_code == 202
    assert edit(service.client("another account"), f" {url}\n").status_code == 202
    assert named_inputs(service) == [input_key(prepare_input(picture(kind)).content)] * 2


def test_an_earlier_image_that_is_gone_or_too_large_is_refused_by_name(
    client: Client, service: Service
) -> None:
    urls = media_urls(service.runtime.settings, service.runtime.keyring)
    gone = edit(client, urls("v1/job/attempt/output.png"))
    assert (gone.status_code, title_and_message(gone)[1]) == (
        400,
        "image_urls: the image of the earlier job is no longer stored",
    )
    service.runtime.storage.put("v1/job/attempt/large.png", bytes(21 * 1024 * 1024), "image/png")
    large = edit(client, urls("v1/job/attempt/large.png"))
    assert (large.status_code, "more than 20 MiB" in title_and_message(large)[1]) == (400, True)


def test_a_media_url_with_another_token_is_refused_by_name(client: Client, service: Service) -> None:
    service.runtime.storage.put("v1/job/attempt/output.png", picture(), "image/png")
    answer = edit(
        client, f"{service.runtime.settings.public_origin}/media/{'A' * 24}/v1/job/attempt/output.png"
    )
    assert answer.status_code == 400
    assert title_and_message(answer)[1].startswith("image_urls: the URL")


UNUSABLE: list[tuple[list[Any], str]] = [
    ([], "image_urls"),
    ([URL, URL], "image_urls"),
    ([5], "image_urls"),
    ([None], "image_urls"),
    (["cat.png"], "data URL"),
    (["ftp://images.example.com/cat.png"], "data URL"),
    (["file:///etc/passwd"], "data URL"),
    ([""], "data URL"),
    (["data:image/png;base64"], "data URL"),
    ([data_url(picture())[:-60]], "unusable"),
    (["data:image/png;base64,AAAAA"], "base64"),
    (["data:image/png;base64,AA=A"], "base64"),
    (["data:image/png;base64,@@@@"], "base64"),
    ([data_url(b"just text")], "unusable"),
    ([data_url(b"")], "unusable"),
    ([data_url(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml")], "unusable"),
    ([data_url(bomb())], "50 megapixels"),
    ([data_url(picture(size=(400, 300))[:200])], "unusable"),
    (["http://10.0.0.1/cat.png"], "IP address"),
    (["http://127.0.0.1/cat.png"], "IP address"),
    (["http://localhost/cat.png"], "public name"),
    (["https://images.example.com:8443/cat.png"], "port"),
    (["https://user:secret@images.example.com/cat.png"], "password"),
    (["https://metadata.google.internal/cat.png"], "public name"),
]


def test_an_image_that_cannot_be_used_is_refused_by_name(client: Client, tmp_path: Path) -> None:
    for urls, told in UNUSABLE:
        answer = edit(client, *urls)
        assert answer.status_code == 400, urls
        title, message = title_and_message(answer)
        assert title == "Bad Request"
        assert message.startswith("image_urls")
        assert told in message
    assert client.service.rows() == NOTHING
    assert client.wallet()["available"] == "10"
    assert stored_files(tmp_path) == []


@pytest.mark.parametrize("head", ["data:,", "data:image/png;base64,", "data:image/png;base64,AAAA"])
def test_half_a_character_in_a_data_url_is_refused_by_name(client: Client, head: str) -> None:
    """JSON may name it by its number alone, and no text that is sent has it."""
    body = json.dumps({"prompt": "make it blue", "image_urls": [f"{head}\ud800"]})
    answer = client.http.post(ROUTE, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert title_and_message(answer)[1].startswith("image_urls")


def test_the_image_is_required(client: Client) -> None:
    answer = client.http.post(ROUTE, json={"prompt": "make it blue"})
    assert (answer.status_code, "image_urls" in title_and_message(answer)[1]) == (400, True)


def test_more_than_twenty_mebibytes_are_refused_before_they_are_decoded(client: Client) -> None:
    answer = edit(client, data_url(bytes(21 * 1024 * 1024)))
    assert answer.status_code == 400
    assert "image_urls: the image has more than 20 MiB" in title_and_message(answer)[1]


def test_a_body_of_more_than_32_mebibytes_is_413(client: Client) -> None:
    answer = edit(client, data_url(bytes(25 * 1024 * 1024)))
    assert answer.status_code == 413


def test_a_ratio_that_no_deployment_edits_is_refused_with_the_reason(client: Client) -> None:
    answer = edit(client, data_url(picture()), aspect_ratio="16:9")
    assert (answer.status_code, "shape" in title_and_message(answer)[1]) == (400, True)
    assert client.service.rows() == NOTHING


def test_a_repeat_with_the_same_key_is_the_same_job(client: Client, service: Service) -> None:
    key = {"Idempotency-Key": "once"}
    first, second = (edit(client, data_url(picture()), headers=key) for _ in range(2))
    assert first.content == second.content
    assert second.headers["Idempotent-Replayed"] == "true"
    other = edit(client, data_url(picture(size=(41, 30))), headers=key)
    assert other.status_code == 422
    assert len(named_inputs(service)) == 1


def test_what_the_storage_does_not_take_is_503_and_nothing_is_left(
    engine: Engine, database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "media").write_text("a file where the directory should be")
    with serving(engine, database_url, storage_url=f"file://{tmp_path}/media") as service:
        answer = edit(service.client(), data_url(picture()))
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert service.rows() == NOTHING


@pytest.fixture
def decoders_are_busy() -> Iterator[threading.Event]:
    """Nobody in this process, the server included, can decode until the event is set."""
    release, places = threading.Event(), len(os.sched_getaffinity(0))
    inside = threading.Barrier(places + 1)

    def hold() -> None:
        with DECODING:
            inside.wait(120)
            release.wait(120)

    with ThreadPoolExecutor(places) as pool:
        holders = [pool.submit(hold) for _ in range(places)]
        inside.wait(120)
        yield release
        release.set()
    assert all(holder.exception() is None for holder in holders)


def test_who_waits_for_decoding_keeps_nobody_else_waiting(
    client: Client, service: Service, decoders_are_busy: threading.Event
) -> None:
    with ThreadPoolExecutor(8) as pool:
        edits = [pool.submit(edit, client, data_url(picture()), prompt=f"edit {n}") for n in range(8)]
        other = service.client("other")
        for _ in range(10):
            request_id = other.generate().json()["request_id"]
            assert other.status(request_id).status_code == 200
        assert not any(one.done() for one in edits)
        decoders_are_busy.set()
        assert [one.result(120).status_code for one in edits] == [202] * 8


def test_who_cannot_pay_is_told_so_before_the_image_is_decoded(service: Service, tmp_path: Path) -> None:
    poor = service.client("poor", funds="0.05")
    assert edit(poor, data_url(b"no image"), num_images=1).status_code == 400, "it is looked at"
    assert edit(poor, data_url(b"no image"), num_images=2).status_code == 402, "two images cost more"
    assert edit(poor, data_url(picture()), num_images=2).status_code == 402
    assert stored_files(tmp_path) == []


@pytest.mark.parametrize(
    ("first", "again"),
    [
        ({"Idempotency-Key": "a"}, {"Idempotency-Key": "a"}),
        ({"X-Stainless-Retry-Count": "0"}, {"X-Stainless-Retry-Count": "1"}),
    ],
    ids=["key", "count"],
)
def test_a_repeat_of_a_submit_that_took_the_last_money_is_the_same_job(
    service: Service, first: dict[str, str], again: dict[str, str]
) -> None:
    poor = service.client("poor", funds="0.05")
    answers = [edit(poor, data_url(picture()), headers=headers) for headers in (first, again)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json()["request_id"] == answers[1].json()["request_id"]
    assert edit(poor, data_url(picture())).status_code == 402
