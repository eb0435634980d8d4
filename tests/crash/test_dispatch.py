"""The dispatcher dies: in the middle of a claim, before ringing, in the middle of ringing."""

from __future__ import annotations

from redis import Redis

from tests.crash.conftest import Crash, MakeCrash


def test_in_the_middle_of_a_claim(crash: Crash) -> None:
    (job_id,) = crash.pipeline.submit()
    crash.die("dispatch", "dispatch.claiming")
    assert (crash.pipeline.status(job_id), crash.pipeline.states(job_id)) == ("QUEUED", [])
    crash.pipeline.run()
    assert (crash.pipeline.status(job_id), crash.generated()) == ("COMPLETED", [1])


def test_after_the_claims_commit_before_ringing(crash: Crash) -> None:
    (job_id,) = crash.pipeline.submit()
    crash.die("dispatch", "dispatch.claimed")
    assert (crash.pipeline.status(job_id), crash.pipeline.states(job_id)) == ("PROCESSING", ["RELEASED"])
    crash.recover()
    assert (crash.pipeline.status(job_id), crash.generated()) == ("COMPLETED", [1])


def test_when_half_a_batch_is_rung(make_crash: MakeCrash, redis_url: str) -> None:
    crash = make_crash(redis_url=redis_url)
    jobs = crash.pipeline.submit(3)
    crash.die("dispatch-and-ring", "dispatch.ringing")
    with Redis.from_url(redis_url) as redis:  # pyright: ignore[reportUnknownMemberType]
        assert redis.llen("generate.interactive") < len(jobs)
    assert [crash.pipeline.states(job_id) for job_id in jobs] == [["RELEASED"]] * 3
    crash.recover()
    assert {crash.pipeline.status(job_id) for job_id in jobs} == {"COMPLETED"}
    assert crash.generated() == [1, 1, 1]
