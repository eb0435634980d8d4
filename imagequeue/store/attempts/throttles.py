"""The 429s of one job, and whether others were served meanwhile: is it the group, or this request?"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from imagequeue.domain.breaker import SERVED_SECONDS

_MOST_READ = 16
"""The last 429s of a job that are looked at: those of a burst are answered together, and count once."""

# A call that was sent after a 429 has its token out for a window from then on, so the index finds it.
_READ = text("""
    WITH this AS (
        SELECT id, job_id, quota_group, coalesce(sent_at, called_at) AS sent_at FROM attempts WHERE id = :id
    ), before AS (
        SELECT last.finished_at, this.job_id, this.quota_group,
            coalesce(lead(last.finished_at) OVER (ORDER BY last.finished_at), this.sent_at) AS until
        FROM this CROSS JOIN LATERAL (
            SELECT finished_at FROM attempts
            WHERE attempts.job_id = this.job_id AND attempts.quota_group = this.quota_group
                AND http_status = 429 AND finished_at < this.sent_at
            ORDER BY finished_at DESC LIMIT :most
        ) AS last
    )
    SELECT count(*) AS before, count(*) FILTER (WHERE EXISTS (
        SELECT FROM attempts AS other
        WHERE other.quota_group = before.quota_group AND other.token_returns_at > before.finished_at
            AND other.state = 'SUCCEEDED' AND other.job_id <> before.job_id
            AND coalesce(other.sent_at, other.called_at) > before.finished_at
            AND coalesce(other.sent_at, other.called_at) < before.until
    )) AS others_served
    FROM before
""")

_KNOWN = text("""
    SELECT EXISTS (
        SELECT FROM attempts JOIN jobs ON jobs.id = attempts.job_id
        WHERE attempts.quota_group = :quota_group
            AND attempts.token_returns_at > clock_timestamp() - make_interval(secs => :seconds)
            AND attempts.state = 'UNAVAILABLE' AND attempts.http_status = 429
            AND attempts.finished_at > clock_timestamp() - make_interval(secs => :seconds)
            AND jobs.account_id = :account_id
    )
""")


@dataclass(frozen=True, slots=True)
class Throttles:
    """The 429s of a job at a quota group `before` this one, and after how many of them others were served."""

    before: int
    others_served: int


def read_throttles(connection: Connection, attempt_id: UUID) -> Throttles:
    """What the job of an attempt met at its quota group before this call was sent."""
    row = connection.execute(_READ, {"id": attempt_id, "most": _MOST_READ}).one()
    return Throttles(row.before, row.others_served)


def had_throttles_alone(connection: Connection, quota_group: str, account_id: UUID) -> bool:
    """Whether 429s of the group were the trouble of an account's own job within `SERVED_SECONDS`."""
    values = {"quota_group": quota_group, "account_id": account_id, "seconds": SERVED_SECONDS}
    return connection.execute(_KNOWN, values).scalar_one()
