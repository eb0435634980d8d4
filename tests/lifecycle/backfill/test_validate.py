"""A file is checked as a whole: its lines wait, or its errors are told by line, field and code."""

from __future__ import annotations

import itertools
import json
import threading
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from imagequeue import backfill_wiring
from imagequeue.domain.batches import Dedupe
from imagequeue.domain.ids import file_name, new_id
from imagequeue.lifecycle.backfill.check_lines import MOST_ERRORS
from imagequeue.lifecycle.backfill.chunk import MOST_LINES
from imagequeue.lifecycle.backfill.create import append_part
from imagequeue.lifecycle.backfill.line_feed import BLOCK_BYTES, MOST_LINE_BYTES
from imagequeue.lifecycle.backfill.validate import TURN_SECONDS
from imagequeue.store.batches.parts import lease_part
from tests.lifecycle.backfill.batches import Batches, line, written

LONG = 33_000


def told(error: dict[str, Any]) -> tuple[int | None, str, str | None]:
    return error["line"], error["code"], error["param"]


def test_the_lines_of_a_valid_file_wait_and_are_counted(batches: Batches) -> None:
    content = written(line("a"), line("b", n=3, size="1024x1024"), line("c", model="microsoft-mai-image-2"))
    batch_id = batches.validated(content)
    assert batches.state(batch_id) == "in_progress"
    assert batches.counts(batch_id) == {"total": 3, "waiting": 3}
    found = list(batches.lines(batch_id))
    assert [(one.number, one.custom_id, one.state) for one in found] == [
        (1, "a", "waiting"),
        (2, "b", "waiting"),
        (3, "c", "waiting"),
    ]
    assert [one.requirement for one in found] == [
        "generate/1:1/1/png/0/4000",
        "generate/1024x1024/3/png/0/4000",
        "generate/1:1/1/png/0/4000",
    ]
    assert [json.loads(content[one.byte_offset :][: one.byte_count])["custom_id"] for one in found] == [
        "a",
        "b",
        "c",
    ]
    part = batches.row("SELECT * FROM batch_parts WHERE batch_id = :id", batch_id)
    assert (part.state, part.image_count, part.price_usd) == ("valid", 5, Decimal("0.176"))
    assert batches.row("SELECT last_number FROM batches WHERE id = :id", batch_id).last_number == 3


@pytest.mark.parametrize("end", [b"", b"\r\n", b"\n\n\n"])
def test_windows_line_ends_a_byte_order_mark_and_empty_lines_are_taken(batches: Batches, end: bytes) -> None:
    one, other = (json.dumps(line(name)).encode() for name in "ab")
    batch_id = batches.validated(b"\xef\xbb\xbf" + one + b"\r\n  \r\n" + other + end)
    assert [one.number for one in batches.lines(batch_id)] == [1, 3]
    assert batches.counts(batch_id) == {"total": 2, "waiting": 2}


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (b"{no json}", ("invalid_json_line", None)),
        (b'"text"', ("invalid_json_line", None)),
        (b"\xff\xfe{}", ("invalid_encoding", None)),
        (written({"custom_id": "x"}), ("invalid_request", "method")),
        (
            written(line("x")).replace(b'"method"', b'"method": "GET", "method"'),
            ("invalid_json_line", "method"),
        ),
        (
            written(line("x")).replace(b'"prompt"', b'"prompt": "no", "prompt"'),
            ("invalid_json_line", "prompt"),
        ),
        (
            written(line("x")).replace(b'"method"', b'"method"\t:"GET","method"'),
            ("invalid_json_line", "method"),
        ),
        (
            written(line("x", user={"a": 1})).replace(b'"a"', b'"a": 2, "a"'),
            ("invalid_json_line", "a"),
        ),
        (written({**line("x"), "method": "GET"}), ("invalid_request", "method")),
        (written({**line("x"), "custom_id": 7}), ("invalid_request", "custom_id")),
        (written({**line("x"), "custom_id": "n\0l"}), ("invalid_request", "custom_id")),
        (written({**line("x"), "custom_id": "x" * 513}), ("invalid_request", "custom_id")),
        (written({**line("x"), "body": []}), ("invalid_request", "body")),
        (written({**line("x"), "extra": 1}), ("invalid_request", "extra")),
        (written(line("x", url="/v1/images/variations")), ("invalid_url", "url")),
        (written(line("x", url="/v2/wallet")), ("invalid_url", "url")),
        (written(line("a")), ("duplicate_custom_id", "custom_id")),
        (written(line("x", model="gpt-image-9")), ("model_not_found", "body.model")),
        (written(line("x", model="disabled-model")), ("model_not_found", "body.model")),
        (written(line("x", prompt="x" * LONG)), ("invalid_request", "body.prompt")),
        (written(line("x", n=11)), ("invalid_request", "body.n")),
        (written(line("x", unheard_of=1)), ("invalid_request", "body.unheard_of")),
        (written(line("x", stream=True)), ("invalid_request", "body.stream")),
        *(
            (
                written(line("x", url="/v1/images/edits", images=[{"image_url": url}])),
                ("invalid_request", "body.images"),
            )
            for url in ("http://10.0.0.1/a.png", "file:fox.png", f"file:{file_name(new_id())}")
        ),
        (
            written(
                line(
                    "x",
                    url="/v1/images/edits",
                    model="microsoft-mai-image-2",
                    images=[{"image_url": "https://a.example/a.png"}],
                )
            ),
            ("unsupported", "body"),
        ),
        (b'{"a": "' + b"x" * (10 * 1024 * 1024) + b'"}', ("line_too_long", None)),
    ],
)
def test_a_line_that_is_wrong_fails_the_batch_by_number_field_and_code(
    batches: Batches, bad: bytes, expected: tuple[str, str | None]
) -> None:
    batch_id = batches.validated(written(line("a")) + bad.rstrip(b"\n") + b"\n" + written(line("b")))
    assert batches.state(batch_id) == "failed"
    assert [told(error) for error in batches.errors(batch_id)] == [(2, *expected)]
    assert batches.counts(batch_id) == {}
    assert list(batches.lines(batch_id)) == []


def test_a_duplicate_names_both_lines(batches: Batches) -> None:
    batch_id = batches.validated(written(*(line(str(number)) for number in range(3000)), line("7")))
    (error,) = batches.errors(batch_id)
    assert (error["line"], error["message"]) == (3001, "custom_id: '7' is in line 3001 and in line 8")


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(batches: Batches, content: bytes) -> None:
    batch_id = batches.validated(content)
    assert batches.state(batch_id) == "failed"
    assert [told(error) for error in batches.errors(batch_id)] == [(None, "empty_file", None)]


def test_a_line_of_another_endpoint_than_the_batch_is_refused(batches: Batches) -> None:
    batch_id = batches.validated(written(line("a")), endpoint="/v1/images/edits")
    assert [told(error) for error in batches.errors(batch_id)] == [(1, "invalid_url", "url")]


def test_reading_ends_after_a_hundred_errors(batches: Batches) -> None:
    batch_id = batches.validated(written(line("a")) + b"no\n" * 5000)
    assert len(batches.errors(batch_id)) == MOST_ERRORS
    assert list(batches.lines(batch_id)) == []


def test_lines_that_lie_across_the_blocks_of_a_read_are_whole(batches: Batches) -> None:
    filler = "x" * 30_000
    count = BLOCK_BYTES // 30_000 + 10
    content = written(*(line(f"{number}", prompt=f"{number} {filler}") for number in range(count)))
    batch_id = batches.validated(content)
    found = [json.loads(content[one.byte_offset :][: one.byte_count]) for one in batches.lines(batch_id)]
    assert [one["custom_id"] for one in found] == [str(number) for number in range(count)]


def test_a_line_over_the_limit_between_others_hides_none_of_them(batches: Batches) -> None:
    content = written(line("a")) + b"x" * (MOST_LINE_BYTES + BLOCK_BYTES) + b"\n" + b"no json\n"
    batch_id = batches.validated(content)
    assert [told(error)[:2] for error in batches.errors(batch_id)] == [
        (2, "line_too_long"),
        (3, "invalid_json_line"),
    ]


def test_images_that_are_named_by_url_are_fetched_later_and_others_are_not(batches: Batches) -> None:
    data = "data:image/png;base64,iVBORw0KGgo="
    content = written(
        line("url", url="/v1/images/edits", images=[{"image_url": "https://a.example/a.png"}]),
        line("data", url="/v1/images/edits", images=[{"image_url": data}]),
    )
    batch_id = batches.validated(content)
    assert [one.requirement for one in batches.lines(batch_id)] == [
        "edit/auto/1/png/1u/4000",
        "edit/auto/1/png/1/4000",
    ]


def test_a_file_of_the_account_may_be_an_image_and_one_of_another_account_may_not(batches: Batches) -> None:
    strangers = Batches.of(batches.runtime, "strangers")

    def edits(file_id: UUID) -> bytes:
        images = [{"image_url": f"file:{file_name(file_id)}"}]
        return written(*(line(name, url="/v1/images/edits", images=images) for name in "ab"))

    own = batches.validated(edits(batches.upload(b"an image, perhaps")))
    assert batches.counts(own) == {"total": 2, "waiting": 2}
    foreign = batches.validated(edits(strangers.upload(b"an image, perhaps")))
    assert [told(error)[1:] for error in batches.errors(foreign)] == [("invalid_request", "body.images")] * 2


def test_lines_that_an_earlier_batch_has_completed_are_skipped(batches: Batches) -> None:
    first = batches.validated(written(line("a"), line("b")))
    with batches.runtime.engine.begin() as connection:
        connection.execute(
            text("""
                WITH made AS (
                    INSERT INTO jobs (id, account_id, flow_id, status, image_count, wanted, price_usd,
                        finished_at)
                    SELECT gen_random_uuid(), :account_id, flow_id, 'COMPLETED', 1, 0, 0.039, now()
                    FROM batch_lines WHERE batch_id = :id AND custom_id = 'a' RETURNING id
                )
                UPDATE batch_lines SET state = 'completed', job_id = made.id, finished = 1
                FROM made WHERE batch_id = :id AND custom_id = 'a'
            """),
            {"id": first, "account_id": batches.account_id},
        )
    again = batches.validated(written(line("c"), line("a"), line("b")), dedupe=Dedupe.CUSTOM_ID)
    assert [(one.custom_id, one.state, one.finished) for one in batches.lines(again)] == [
        ("c", "waiting", None),
        ("a", "skipped", 1),
        ("b", "waiting", None),
    ]
    assert batches.counts(again) == {"total": 3, "waiting": 2, "skipped": 1, "finished": 1}
    other = batches.validated(written(line("a", prompt="something else")), dedupe=Dedupe.CUSTOM_ID)
    (error,) = batches.errors(other)
    assert error["code"] == "custom_id_of_another_body"
    assert f"in line 1 has another body than in line 2 of batch_{again.hex}" in error["message"]


def test_appended_lines_follow_and_their_errors_fail_them_alone(batches: Batches) -> None:
    batch_id = batches.validated(written(line("a"), line("b")))
    for content in (written(line("a")), written(line("c"))):
        append_part(batches.runtime, batches.account_id, batch_id, batches.upload(content))
    batches.validate()
    assert batches.state(batch_id) == "in_progress"
    assert [(one.number, one.custom_id) for one in batches.lines(batch_id)] == [(1, "a"), (2, "b"), (4, "c")]
    assert batches.counts(batch_id) == {"total": 3, "waiting": 3}
    failed = batches.row("SELECT state, errors FROM batch_parts WHERE batch_id = :id AND part = 2", batch_id)
    assert (failed.state, told(failed.errors[0])) == ("failed", (1, "duplicate_custom_id", "custom_id"))


def test_a_batch_that_is_cancelled_while_it_is_validated_keeps_no_lines(batches: Batches) -> None:
    batch_id = batches.create(written(line("a")))
    with batches.runtime.engine.begin() as connection:
        connection.execute(text("UPDATE batches SET state = 'cancelling' WHERE id = :id"), {"id": batch_id})
    batches.validate()
    assert list(batches.lines(batch_id)) == []
    assert batches.state(batch_id) == "cancelling"
    assert batches.row("SELECT state FROM batch_parts WHERE batch_id = :id", batch_id).state == "failed"


def test_a_process_that_is_to_end_leaves_the_rest_to_the_next_one_at_once(batches: Batches) -> None:
    batch_id = batches.create(written(*(line(str(number)) for number in range(4500))))
    stopping = threading.Event()
    stopping.set()
    assert backfill_wiring.validation(batches.runtime, stopping).run_once() == MOST_LINES
    assert batches.state(batch_id) == "validating"
    batches.validate()
    assert batches.counts(batch_id) == {"total": 4500, "waiting": 4500}


def test_a_short_file_has_its_turn_before_the_end_of_a_long_one(batches: Batches) -> None:
    long = batches.create(written(*(line(str(number)) for number in range(4500))))
    short = batches.create(written(line("a")))
    seconds = itertools.count(step=TURN_SECONDS + 1)
    validation = backfill_wiring.validation(batches.runtime, threading.Event())
    validation.clock = lambda: float(next(seconds))
    assert (validation.run_once(), validation.run_once()) == (MOST_LINES, 1)
    assert (batches.state(long), batches.state(short)) == ("validating", "in_progress")


def test_a_file_does_not_wait_for_all_files_of_another_account(batches: Batches) -> None:
    for _ in range(5):
        batches.create(written(line("a")))
    other = Batches.of(batches.runtime, "other")
    other.create(written(line("a")))
    leased = set[UUID]()
    for _ in range(50):  # an account is chosen at random: all of them are the same one in 2 of 2**50 runs
        with batches.runtime.engine.connect() as connection:  # which takes the lease back
            part = lease_part(connection, 60)
            assert part is not None
            leased.add(part.account_id)
    assert leased == {batches.account_id, other.account_id}
