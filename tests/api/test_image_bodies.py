"""Answers with images in them: the bytes are those of an answer that was written at once."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from secrets import token_bytes
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import Engine

from api.image_bodies import ImageBody, Placeholders, pieces, placed_pieces
from api.image_budget import PIECE_BYTES, PLACES_OF_ONE_ACCOUNT, ImageBudget
from api.services import ApiServices
from imagequeue.domain.errors import ServiceUnavailable
from imagequeue.domain.job_view import OutputImage
from tests.api.second import IMAGES
from tests.api.waiting import Waiting
from tests.builders import runtime
from tests.dialects.examples import view

SIZES = (1, 2, 3, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES + 5)
ACCOUNT = UUID("019d0000-0000-7000-8000-000000000001")
OTHER = UUID("019d0000-0000-7000-8000-000000000002")


def replace_images(waiting: Waiting, *sizes: int) -> list[bytes]:
    """Let the stored images have other bytes, of these sizes."""
    rows = waiting.pipeline.rows("SELECT job_id, ordinal, storage_key FROM images ORDER BY ordinal")
    contents = [token_bytes(size) for size in sizes]
    for row, content in zip(rows, contents, strict=True):
        (waiting.pipeline.directory / "media" / row.storage_key).write_bytes(content)
        waiting.pipeline.execute(
            "UPDATE images SET size_bytes = :size WHERE job_id = :job AND ordinal = :ordinal",
            size=len(content),
            job=row.job_id,
            ordinal=row.ordinal,
        )
    return contents


def completed(waiting: Waiting, count: int, **fields: Any) -> str:
    """The path of a job's result with the images in it."""
    answer = waiting.post({"x-second-later": "yes"}, inline=True, count=count, **fields).result()
    waiting.pipeline.run()
    return f"{IMAGES}/{answer.json()['id']}"


@pytest.mark.parametrize("sizes", [SIZES[:4], SIZES[3:]], ids=["short", "long"])
def test_every_byte_is_that_of_an_answer_in_memory(waiting: Waiting, sizes: tuple[int, ...]) -> None:
    path = completed(waiting, 4, label='“quoted” \\u0041 "')
    contents = replace_images(waiting, *sizes)
    expected = waiting.http.get(path).json()
    assert len(expected["pictures"]) == 4
    expected["pictures"] = [base64.b64encode(content).decode() for content in contents]
    answer = waiting.http.get(f"{path}/result")
    assert answer.content == json.dumps(expected).encode()
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    assert answer.headers["X-Second"] == "result"
    head = waiting.http.head(f"{path}/result")
    assert head.headers["Content-Length"] == answer.headers["Content-Length"]


def test_what_looks_like_a_placeholder_stays_what_it_is(waiting: Waiting) -> None:
    forged = f"image-{'0' * 32}-0."
    path = completed(waiting, 1, label=forged, text=forged)
    (content,) = replace_images(waiting, 1000)
    told = waiting.http.get(f"{path}/result").json()
    assert (told["label"], told["pictures"]) == (forged, [base64.b64encode(content).decode()])


def test_a_placeholder_of_another_answer_means_nothing() -> None:
    """Even if a client came to know one."""
    job = view("second", {"status": "COMPLETED"})
    (earlier,) = Placeholders().put_into(job).images
    placeholders = Placeholders()
    (image,) = placeholders.put_into(job).images
    text = json.dumps([earlier.base64, image.base64, image.base64])
    assert text == f'["{earlier.base64}", "{image.base64}", "{image.base64}"]', "JSON escapes nothing of it"
    body = placeholders.cut(text)
    assert body.parts == (f'["{earlier.base64}", "'.encode(), job.images[0], b'", "', job.images[0], b'"]')


def test_an_image_that_is_cut_short_breaks_the_answer_off(waiting: Waiting) -> None:
    """What was sent is not whole, and the client must be able to see that."""
    path = completed(waiting, 1)
    (content,) = replace_images(waiting, 3 * PIECE_BYTES)
    (row,) = waiting.pipeline.rows("SELECT storage_key FROM images")
    (waiting.pipeline.directory / "media" / row.storage_key).write_bytes(content[: 2 * PIECE_BYTES])
    with pytest.raises(httpx.RemoteProtocolError):
        waiting.http.get(f"{path}/result")
    assert waiting.http.get("/healthz").status_code == 200


def test_a_client_that_hangs_up_in_the_middle_gives_its_place_to_the_next(waiting: Waiting) -> None:
    waiting.app.state.services.image_budget = ImageBudget(1, 1)
    path = completed(waiting, 1)
    (content,) = replace_images(waiting, 32 * 1024 * 1024)
    with waiting.http.stream("GET", f"{path}/result") as broken_off:
        next(broken_off.iter_raw(1000))
    (picture,) = waiting.http.get(f"{path}/result").json()["pictures"]
    assert picture == base64.b64encode(content).decode()


def stored(services: ApiServices, content: bytes) -> ImageBody:
    """A body that is one image."""
    key = f"v1/{uuid4()}.png"
    services.runtime.storage.put(key, content, "image/png")
    return ImageBody((OutputImage(key, "", "image/png", 1, 1, len(content)),))


def services_of(engine: Engine, database_url: str, folder: Path) -> ApiServices:
    return ApiServices(runtime(engine, database_url, storage_url=f"file://{folder}/media"))


def test_who_gets_no_place_waits_until_a_client_has_taken_its_answer(
    engine: Engine, database_url: str, tmp_path: Path
) -> None:
    content = token_bytes(2 * PIECE_BYTES)

    async def send(services: ApiServices) -> None:
        services.image_budget = ImageBudget(1, 1)
        body = stored(services, content)
        slow, other = (placed_pieces(services, account, body) for account in (ACCOUNT, OTHER))
        taken = [await anext(slow)]
        waiting = asyncio.ensure_future(anext(other))
        for _ in range(2):
            taken.append(await anext(slow))
            assert not waiting.done()
        assert b"".join(taken) == base64.b64encode(content)
        assert [rest async for rest in slow] == []
        assert await waiting == taken[0]
        await other.aclose()

    asyncio.run(send(services_of(engine, database_url, tmp_path)))


def test_an_account_whose_clients_read_slowly_leaves_places_to_the_others(
    engine: Engine, database_url: str, tmp_path: Path
) -> None:
    async def send(services: ApiServices) -> None:
        body = stored(services, b"an image")
        slow = [placed_pieces(services, ACCOUNT, body) for _ in range(PLACES_OF_ONE_ACCOUNT)]
        for one in slow:
            await anext(one)
        more = [asyncio.ensure_future(anext(placed_pieces(services, ACCOUNT, body))) for _ in range(500)]
        assert await anext(placed_pieces(services, OTHER, body)) == base64.b64encode(b"an image")
        assert not any(one.done() for one in more)
        for one in more:
            one.cancel()
        await asyncio.wait(more)
        for one in slow:
            await one.aclose()
        assert await anext(placed_pieces(services, ACCOUNT, body))

    asyncio.run(send(services_of(engine, database_url, tmp_path)))


def test_an_image_that_is_gone_is_said_so(engine: Engine, database_url: str, tmp_path: Path) -> None:
    async def send(services: ApiServices) -> None:
        body = stored(services, b"an image")
        services.runtime.storage.delete(body.images[0].storage_key)
        with pytest.raises(ServiceUnavailable):
            async for _ in pieces(services, body):
                pass

    asyncio.run(send(services_of(engine, database_url, tmp_path)))
