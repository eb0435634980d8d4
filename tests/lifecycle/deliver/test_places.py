"""When a place that has become free is a reason to claim again."""

from __future__ import annotations

from sqlalchemy import event

from tests.lifecycle.deliver.receiving import Webhooks


def test_a_place_that_becomes_free_is_no_reason_to_look_where_nothing_was_left(webhooks: Webhooks) -> None:
    webhooks.finish_job()
    begun = webhooks.begin()
    webhooks.make(begun)
    assert webhooks.row().state == "DELIVERED"
    assert not webhooks.deliveries.may_claim.is_set()


def test_a_place_that_becomes_free_is_one_where_something_was_left(webhooks: Webhooks) -> None:
    for _ in range(5):  # a target that is not known gets four at a time
        webhooks.finish_job()
    webhooks.pipeline.beat()
    assert webhooks.deliveries.run_once() == 4
    webhooks.make(webhooks.pool.begun.pop())
    assert webhooks.deliveries.may_claim.is_set()
    assert webhooks.deliveries.run_once() == 1


def test_a_place_that_becomes_free_while_a_claim_goes_on_is_a_reason_to_look(webhooks: Webhooks) -> None:
    webhooks.finish_job()
    begun = webhooks.begin()
    engine = webhooks.pipeline.runtime.engine

    ending = [begun]

    def meanwhile(*_: object) -> None:
        while ending:
            webhooks.make(ending.pop())

    event.listen(engine, "before_cursor_execute", meanwhile)
    assert webhooks.deliveries.run_once() == 0
    assert webhooks.deliveries.may_claim.is_set()
