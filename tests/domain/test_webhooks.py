"""The table of outcomes, the schedule and the hints."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagequeue.domain.errors import ConfigurationError
from imagequeue.domain.webhooks import (
    DEFAULT_SCHEDULE,
    LONGEST_HINT,
    Action,
    TargetHealth,
    excerpt,
    judge_failure,
    judge_status,
    next_attempt_at,
    parse_retry_after,
    parse_schedule,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SCHEDULES = st.lists(st.floats(0, 86_400 * 30), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("status", "action", "target_health", "reason"),
    [
        (200, Action.DELIVERED, TargetHealth.SUCCESS, "http_200"),
        (204, Action.DELIVERED, TargetHealth.SUCCESS, "http_204"),
        (299, Action.DELIVERED, TargetHealth.SUCCESS, "http_299"),
        (301, Action.RETRY, TargetHealth.NEUTRAL, "redirect_not_followed"),
        (304, Action.RETRY, TargetHealth.NEUTRAL, "redirect_not_followed"),
        (308, Action.RETRY, TargetHealth.NEUTRAL, "redirect_not_followed"),
        (400, Action.RETRY, TargetHealth.NEUTRAL, "http_400"),
        (401, Action.RETRY, TargetHealth.NEUTRAL, "http_401"),
        (404, Action.RETRY, TargetHealth.NEUTRAL, "http_404"),
        (408, Action.RETRY, TargetHealth.FAILURE, "http_408"),
        (410, Action.DEAD, TargetHealth.NEUTRAL, "http_410"),
        (425, Action.RETRY, TargetHealth.FAILURE, "http_425"),
        (429, Action.RETRY, TargetHealth.FAILURE, "http_429"),
        (500, Action.RETRY, TargetHealth.FAILURE, "http_500"),
        (503, Action.RETRY, TargetHealth.FAILURE, "http_503"),
        (599, Action.RETRY, TargetHealth.FAILURE, "http_599"),
        (101, Action.RETRY, TargetHealth.FAILURE, "http_101"),
        (600, Action.RETRY, TargetHealth.FAILURE, "http_600"),
    ],
)
def test_every_status_has_its_row(
    status: int, action: Action, target_health: TargetHealth, reason: str
) -> None:
    outcome = judge_status(status, None, NOW)
    assert (outcome.action, outcome.target_health, outcome.reason) == (action, target_health, reason)
    assert outcome.pause_until is None


@pytest.mark.parametrize(
    ("status", "target_health"), [(429, TargetHealth.FAILURE), (503, TargetHealth.NEUTRAL)]
)
def test_a_hint_pauses_the_target(status: int, target_health: TargetHealth) -> None:
    outcome = judge_status(status, "90", NOW)
    assert outcome.pause_until == NOW + timedelta(seconds=90)
    assert (outcome.action, outcome.target_health) == (Action.RETRY, target_health)


@pytest.mark.parametrize("status", [200, 302, 404, 410, 500])
def test_a_hint_means_nothing_with_any_other_status(status: int) -> None:
    assert judge_status(status, "90", NOW).pause_until is None


@pytest.mark.parametrize("code", ["dns_error", "connect_failed", "tls_error", "timeout"])
def test_no_answer_is_retried_and_counted(code: str) -> None:
    outcome = judge_failure(code)
    assert (outcome.action, outcome.target_health, outcome.reason) == (
        Action.RETRY,
        TargetHealth.FAILURE,
        code,
    )


def test_a_blocked_destination_is_tried_three_times() -> None:
    outcomes = [judge_failure("blocked_destination", before) for before in range(3)]
    assert [outcome.action for outcome in outcomes] == [Action.RETRY, Action.RETRY, Action.DEAD]
    assert {outcome.target_health for outcome in outcomes} == {TargetHealth.NEUTRAL}


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        (" 120 ", 120),
        ("1.5", 1.5),
        ("21600", 21_600),
        ("21601", 21_600),
        ("86400", 21_600),
        ("999999999999999999", 21_600),
        (format_datetime(NOW + timedelta(minutes=5), usegmt=True), 300),
        ("Friday, 02-Jan-26 03:09:05 GMT", 300),
        (format_datetime(NOW + timedelta(days=400), usegmt=True), 21_600),
    ],
)
def test_a_usable_hint(header: str, seconds: float) -> None:
    assert parse_retry_after(header, NOW) == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "0",
        "0.0",
        "-1",
        "+5",
        "NaN",
        "nan",
        "inf",
        "1e99",
        "1e3",
        "soon",
        "5 minutes",
        "\u0661\u0662",
        "9" * 5000,
        format_datetime(NOW, usegmt=True),
        format_datetime(NOW - timedelta(days=1), usegmt=True),
        "Fri, 99 Jan 2026 03:09:05 GMT",
        "Fri, 02 Jan 99999 03:09:05 GMT",
        "Fri, 02 Jan 2026 03:09:05 +9999999",
    ],
)
def test_a_useless_hint_is_ignored(header: str | None) -> None:
    assert parse_retry_after(header, NOW) is None


@given(st.text() | st.floats().map(str) | st.integers().map(str) | st.datetimes().map(format_datetime))
def test_any_hint_is_ignored_or_within_bounds(header: str) -> None:
    moment = parse_retry_after(header, NOW)
    assert moment is None or NOW < moment <= NOW + LONGEST_HINT


def test_the_default_schedule_is_twelve_attempts_over_about_76_hours() -> None:
    assert len(DEFAULT_SCHEDULE) == 12
    assert sum(DEFAULT_SCHEDULE) / 3600 == pytest.approx(76, abs=0.5)
    assert next_attempt_at(DEFAULT_SCHEDULE, 0, NOW, jitter=1.0) == NOW
    assert next_attempt_at(DEFAULT_SCHEDULE, 12, NOW, jitter=0.0) is None


@given(SCHEDULES, st.integers(0, 30), st.floats(0, 1), st.none() | st.timedeltas(timedelta(0), LONGEST_HINT))
def test_jitter_is_only_added_and_a_pause_is_heeded(
    schedule: list[float], made: int, jitter: float, pause: timedelta | None
) -> None:
    until = None if pause is None else NOW + pause
    due = next_attempt_at(schedule, made, NOW, jitter=jitter, pause_until=until)
    if made >= len(schedule):
        assert due is None
        return
    assert due is not None
    shortest = timedelta(seconds=schedule[made])
    longest = timedelta(seconds=schedule[made] * 1.2)
    assert max(NOW + shortest, until or NOW) <= due <= max(NOW + longest, until or NOW)


@given(SCHEDULES, st.lists(st.floats(0, 1), min_size=20, max_size=20))
def test_hints_stretch_a_delay_to_six_hours_and_no_further(
    schedule: list[float], jitters: list[float]
) -> None:
    due = NOW
    for made, jitter in enumerate(jitters[: len(schedule)]):
        pause = due + LONGEST_HINT if made else None
        due = next_attempt_at(schedule, made, due, jitter=jitter, pause_until=pause) or due
    delays = [timedelta(seconds=seconds * 1.2) for seconds in schedule]
    longest = sum((max(delay, LONGEST_HINT) for delay in delays[1:]), start=delays[0])
    assert due <= NOW + longest + timedelta(milliseconds=1)


def test_a_schedule_is_read() -> None:
    assert parse_schedule("") == DEFAULT_SCHEDULE
    assert parse_schedule(" 0, 0.5,10 ") == (0.0, 0.5, 10.0)


@pytest.mark.parametrize(
    "text", ["x", "0,,5", "0,-1", "0,nan", "0,inf", "0,1e99", ",", "5;6", ",".join("0" * 101)]
)
def test_a_schedule_that_is_none_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigurationError, match="IMAGEQUEUE_WEBHOOK_SCHEDULE"):
        parse_schedule(text)


def test_an_excerpt_is_escaped() -> None:
    assert excerpt(b"ok\n\t\x00\x1b[31m\xff\\ \r") == "ok\n\t\\x00\\x1b[31m\\xff\\\\ \\x0d"


@given(st.binary(max_size=6000))
def test_an_excerpt_is_short_and_harmless(body: bytes) -> None:
    text = excerpt(body)
    assert len(text) <= 4096
    assert all(character in "\n\t" or " " <= character <= "~" for character in text)
