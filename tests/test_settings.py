"""Settings that are well formed alone and contradict each other."""

from __future__ import annotations

import pytest

from imagequeue.domain.errors import ConfigurationError
from imagequeue.settings import load_settings


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """What is needed, and nothing else."""
    monkeypatch.delenv("IMAGEQUEUE_TEST_DATABASE_URL", raising=False)
    monkeypatch.setenv("IMAGEQUEUE_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    return monkeypatch


@pytest.mark.parametrize(
    ("days", "schedule", "needed"),
    [("3", "", 4), ("1", "0,86400", 2), ("1", "86401", 2), ("30", "0,2592000", 36)],
)
def test_jobs_that_go_before_their_webhooks_are_given_up_are_refused_at_the_start(
    environment: pytest.MonkeyPatch, days: str, schedule: str, needed: int
) -> None:
    environment.setenv("IMAGEQUEUE_RETENTION_DAYS", days)
    environment.setenv("IMAGEQUEUE_WEBHOOK_SCHEDULE", schedule)
    with pytest.raises(ConfigurationError, match=f"IMAGEQUEUE_RETENTION_DAYS.* at least {needed}"):
        load_settings()


@pytest.mark.parametrize(("days", "schedule"), [("4", ""), ("1", "0,5,70000"), ("1", "0")])
def test_a_retention_beyond_the_schedule_is_taken(
    environment: pytest.MonkeyPatch, days: str, schedule: str
) -> None:
    environment.setenv("IMAGEQUEUE_RETENTION_DAYS", days)
    environment.setenv("IMAGEQUEUE_WEBHOOK_SCHEDULE", schedule)
    assert load_settings().retention_days == int(days)


def test_a_malformed_schedule_is_refused_by_every_process(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("IMAGEQUEUE_WEBHOOK_SCHEDULE", "0;5")
    with pytest.raises(ConfigurationError, match="IMAGEQUEUE_WEBHOOK_SCHEDULE"):
        load_settings()
