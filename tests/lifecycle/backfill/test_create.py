"""The same batch again is the same batch; another one under the same key is refused."""

from __future__ import annotations

import pytest

from imagequeue.domain.batches import Dedupe
from imagequeue.domain.errors import AlreadyFinal, IdempotencyMismatch, InvalidRequest, NotFound
from imagequeue.domain.ids import new_id
from imagequeue.lifecycle.backfill.create import append_part
from imagequeue.lifecycle.backfill.files import hide_file
from tests.lifecycle.backfill.batches import Batches, line, written

CONTENT = written(line("a"))


def test_a_key_makes_one_batch_of_the_same_bytes_whatever_the_file_is_called(batches: Batches) -> None:
    first = batches.order(batches.upload(CONTENT), idempotency_key="k")
    again = batches.order(batches.upload(CONTENT), idempotency_key="k", body=b"another file id")
    assert (again.batch_id, again.replayed) == (first.batch_id, True)
    for content, terms in ((written(line("b")), {}), (CONTENT, {"weight": 2})):
        with pytest.raises(IdempotencyMismatch):
            batches.order(batches.upload(content), idempotency_key="k", body=b"other", **terms)


def test_a_key_belongs_to_its_account(batches: Batches) -> None:
    other = Batches.of(batches.runtime, "other")
    first, second = (one.order(one.upload(CONTENT), idempotency_key="k").batch_id for one in (batches, other))
    assert first != second


def test_a_client_that_repeats_a_creation_gets_the_first_batch_also_when_the_file_is_deleted(
    batches: Batches,
) -> None:
    file_id = batches.upload(CONTENT)
    first = batches.order(file_id, body=b"{}", retry_count=0)
    hide_file(batches.runtime, batches.account_id, file_id)
    assert batches.order(file_id, body=b"{}", retry_count=1).batch_id == first.batch_id
    with pytest.raises(InvalidRequest, match="no file 'file-"):
        batches.order(file_id, body=b"{}")


def test_without_a_count_an_equal_creation_makes_another_batch(batches: Batches) -> None:
    file_id = batches.upload(CONTENT)
    assert batches.order(file_id, body=b"{}").batch_id != batches.order(file_id, body=b"{}").batch_id


def test_the_same_file_is_answered_with_its_newest_batch_that_did_not_fail(batches: Batches) -> None:
    bad = batches.validated(b"no json", dedupe=Dedupe.FILE)
    again = batches.create(b"no json", dedupe=Dedupe.FILE)
    assert again != bad
    assert batches.create(b"no json", dedupe=Dedupe.FILE) == again


def test_another_account_can_neither_use_a_file_nor_append(batches: Batches) -> None:
    other = Batches.of(batches.runtime, "other")
    with pytest.raises(InvalidRequest):
        other.order(batches.upload(CONTENT))
    with pytest.raises(NotFound):
        append_part(other.runtime, other.account_id, batches.create(CONTENT), other.upload(CONTENT))


def test_a_batch_that_is_not_open_takes_no_lines(batches: Batches) -> None:
    failed = batches.validated(b"no json")
    with pytest.raises(AlreadyFinal, match="failed"):
        append_part(batches.runtime, batches.account_id, failed, batches.upload(CONTENT))
    with pytest.raises(NotFound):
        append_part(batches.runtime, batches.account_id, new_id(), batches.upload(CONTENT))
