"""The checker applies every invariant (docs/design/pipeline.md, "Invariants") to the evidence of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chaos.evidence import Evidence, Finding
from chaos.invariants import (
    backfill,
    cancelled,
    clients,
    endings,
    failover,
    hostile,
    images,
    jobs,
    life,
    lists,
    money,
    paid,
    recovery,
    rescues,
    upstream,
    waits,
    webhooks,
)

INVARIANTS: Sequence[Callable[[Evidence], Finding]] = (
    jobs.every_acknowledged_request_exists,
    jobs.one_key_is_one_job,
    jobs.every_job_is_final_in_time,
    jobs.no_job_moved_backwards,
    clients.every_answer_was_an_answer,
    waits.every_client_that_waited_got_its_job,
    waits.a_lost_answer_is_found_by_its_key,
    money.every_hold_ends_once,
    money.only_completed_jobs_are_charged,
    money.ledger_equals_wallets,
    images.every_completed_job_has_its_images,
    images.every_paid_image_has_its_record,
    paid.what_was_paid_is_stored_or_its_loss_explained,
    upstream.no_window_has_more_than_its_quota,
    upstream.every_call_has_its_attempt,
    upstream.every_extra_call_has_its_reason,
    endings.attempts_are_bounded,
    endings.every_error_has_its_reason,
    failover.no_job_is_error_beside_an_idle_deployment,
    webhooks.every_final_job_told_its_receiver,
    webhooks.one_webhook_id_for_a_job,
    cancelled.a_job_cancelled_in_time_was_not_called,
    recovery.an_emptied_redis_is_made_good,
    lists.no_list_in_redis_outgrows_its_work,
    rescues.no_attempt_of_a_live_process_was_rescued,
    rescues.storage_away_repeats_no_call,
    backfill.every_line_is_counted_at_the_end,
    backfill.every_line_is_in_one_file,
    backfill.a_retry_calls_for_failed_lines_alone,
    backfill.a_backfill_is_charged_for_its_images_alone,
    backfill.the_folder_is_its_manifest,
    hostile.the_hostile_client_is_refused,
    hostile.no_hostile_connection_outlives_its_bound,
    hostile.others_are_served_beside_the_hostile_client,
    hostile.the_status_route_stays_quick,
    life.no_process_needs_a_hand,
)

_SHOWN = 10
"""Violations that are printed: one fault of the product often violates an invariant for hundreds of jobs."""


def check(evidence: Evidence) -> list[Finding]:
    """The finding of each invariant, in the order of `INVARIANTS`."""
    return [invariant(evidence) for invariant in INVARIANTS]


def line(finding: Finding) -> str:
    """The text about a finding: a line with its counts, and a line for each of its first violations."""
    verdict = "ok  " if not finding.violations else "FAIL"
    counts = ", ".join(f"{name} {value}" for name, value in finding.counts.items())
    shown = [f"      - {violation}" for violation in finding.violations[:_SHOWN]]
    more = len(finding.violations) - len(shown)
    rest = [f"      - and {more} more"] if more > 0 else []
    return "\n".join([f"{verdict}  {finding.invariant}: {counts}", *shown, *rest])
