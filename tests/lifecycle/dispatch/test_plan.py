"""One plan says what starts now, and where: over random states, and in the cases that were once wrong."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import UUID

from hypothesis import example, given, settings
from hypothesis import strategies as st

from imagequeue.domain.catalog import Deployment
from imagequeue.domain.jobs import Lane
from imagequeue.domain.quota import HORIZON
from imagequeue.lifecycle.dispatch.demand import JobInLine
from imagequeue.lifecycle.dispatch.plan import OTHER_DEPLOYMENT_SECONDS
from imagequeue.store.attempts.deployments import DeploymentState
from imagequeue.store.jobs.claims import PastFailures
from tests.lifecycle.dispatch.planned_state import State, begun, flow


def test_a_lone_job_that_one_deployment_failed_starts_at_the_free_one_at_once() -> None:
    state = State({"a": {}, "b": {}}, {"a": [0.0], "b": [0.0]}, begun=[begun(a=(1, -1.0))])
    assert state.served() == {"b": 1}


def test_untried_deployments_come_first_whatever_their_order_and_cost() -> None:
    deployments: dict[str, dict[str, Any]] = {"a": {}, "b": {"order": 2, "cost_usd": "1"}, "c": {"order": 3}}
    state = State(deployments, {"a": [0.0], "b": [0.0], "c": [0.0]}, begun=[begun(a=(1, -9.0))])
    assert state.served() == {"b": 1}
    twice = State(deployments, {"a": [0.0], "b": [0.0], "c": []}, begun=[begun(a=(1, -9.0), b=(2, -9.0))])
    assert twice.served() == {"a": 1}


def test_a_later_order_takes_over_from_one_whose_back_off_holds_the_job_back() -> None:
    deployments: dict[str, dict[str, Any]] = {"a": {}, "b": {"order": 2, "spill_after_seconds": 60}}
    assert State(deployments, {"a": [0.0], "b": [0.0]}, begun=[begun(a=(1, 2.0))]).served() == {"b": 1}
    both = begun(a=(1, 7.0), b=(1, -1.0))
    assert State({**deployments, "b": {"order": 2}}, {"a": [0.0], "b": [0.0]}, begun=[both]).served() == {
        "b": 1
    }
    soon = begun(a=(1, 3.0), b=(1, -1.0))
    assert State({**deployments, "b": {"order": 2}}, {"a": [3.0], "b": [0.0]}, begun=[soon]).served() == {}


def test_a_job_waits_for_a_fresh_deployment_for_seconds_and_no_longer() -> None:
    def served(back_off_ends_in: float, other_starts_in: float) -> dict[str, int]:
        job = begun(a=(1, back_off_ends_in))
        return State({"a": {}, "b": {}}, {"a": [0.0], "b": [other_starts_in]}, begun=[job]).served()

    assert served(-0.1, OTHER_DEPLOYMENT_SECONDS - 1) == {}
    assert served(-0.1, OTHER_DEPLOYMENT_SECONDS + 1) == {"a": 1}
    assert served(-OTHER_DEPLOYMENT_SECONDS, OTHER_DEPLOYMENT_SECONDS - 1) == {"a": 1}


def test_no_more_jobs_wait_for_a_fresh_deployment_than_it_may_have_calls() -> None:
    jobs = [begun(number, a=(1, -0.1)) for number in (1, 2)]
    deployments: dict[str, dict[str, Any]] = {"a": {}, "b": {"max_in_flight": 1}}
    state = State(deployments, {"a": [0.0, 0.0], "b": [1.5, 2.0]}, begun=jobs)
    assert [call.job for call in state.plan()] == jobs[1:]


def test_a_job_goes_nowhere_where_it_is_used_up_unless_it_is_asked_for_once_more_before_it_ends() -> None:
    job = begun(a=(6, -1.0), b=(1, 20.0))
    assert State({"a": {}, "b": {}}, {"a": [0.0], "b": [0.0]}, begun=[job]).served() == {}
    job = begun(a=(6, -1.0), b=(6, 60.0))
    job.ends_soon = True
    assert State({"a": {}, "b": {}}, {"a": [0.0], "b": [0.0]}, begun=[job]).served() == {"a": 1}


HALF_OPEN = {"a": DeploymentState("a", 5, misconfigured=False, reason="down", blocked_for=0.0)}


def test_a_breaker_that_one_account_alone_has_opened_lets_one_job_of_another_account_try() -> None:
    opener = {"a": flow(1).account_id}
    state = State({"a": {}}, {"a": [0.0] * 4}, {flow(1): 2, flow(2): 2}, breakers=HALF_OPEN, kept_out=opener)
    assert [call.job.flow.id for call in state.plan()] == [2]


def test_the_account_that_has_opened_it_goes_to_another_deployment() -> None:
    opener = {"a": flow(1).account_id}
    starts = {"a": [0.0] * 4, "b": [0.0] * 4}
    deployments: dict[str, dict[str, Any]] = {"a": {}, "b": {"cost_usd": "1"}}
    state = State(deployments, starts, {flow(1): 2, flow(2): 1}, breakers=HALF_OPEN, kept_out=opener)
    where = sorted((call.job.flow.id, call.deployment.name) for call in state.plan())
    assert where == [(1, "b"), (1, "b"), (2, "a")]


def test_between_equal_starts_the_cheapest_then_the_one_that_was_not_used_for_longest() -> None:
    starts = {name: [0.0] * 4 for name in "abc"}
    cheap = State({"a": {"cost_usd": "2"}, "b": {"cost_usd": "1"}, "c": {}}, starts, {flow(): 4})
    assert cheap.served() == {"c": 4}
    equal = State(
        {name: {"cost_usd": "1"} for name in "abc"}, starts, {flow(): 4}, last={"a": 9.0, "b": 8.0, "c": 7.0}
    )
    assert [call.deployment.name for call in equal.plan()] == ["c", "b", "a", "c"]


def test_an_interactive_job_does_not_wait_for_an_earlier_order_that_backfill_would_use_up() -> None:
    deployments: dict[str, dict[str, Any]] = {"first": {}, "spare": {"order": 2}}
    starts = {"first": [1.5, 3.0, 4.5], "spare": [0.0]}
    alone = State(deployments, starts, {flow(1): 1})
    assert alone.served() == {}
    among = State(deployments, starts, {flow(1): 1, flow(2, Lane.BACKFILL): 100})
    (call,) = among.plan()
    assert (call.deployment.name, call.job.flow.lane) == ("spare", Lane.INTERACTIVE)


def test_what_only_one_deployment_can_serve_leaves_the_others_to_the_rest() -> None:
    long = "generate/auto/1/png/0/32000"
    state = State(
        {"east": {}, "aiml": {"provider": "aiml", "cost_usd": "1"}},
        {"east": [0.0, 0.1], "aiml": [0.0]},
        {flow(1, requirement=long): 2, flow(2): 1},
    )
    assert state.served() == {"east": 2, "aiml": 1}


def half_open(name: str) -> dict[str, DeploymentState]:
    return {name: DeploymentState(name, 5, misconfigured=False, reason="down", blocked_for=-1.0)}


def test_the_job_that_opened_a_breaker_is_no_probe_while_another_one_waits() -> None:
    suspect = begun(1, a=(1, -1.0))
    for other in ({"queued": {flow(1): 1}}, {"queued": {flow(2): 1}}, {"begun": [suspect, begun(3)]}):
        given_: dict[str, Any] = {"begun": [suspect], **other}
        state = State({"a": {}}, {"a": [0.0, 0.0]}, breakers=half_open("a"), **given_)
        (call,) = state.plan()
        assert call.job is not suspect
    alone = State({"a": {}}, {"a": [0.0]}, begun=[suspect], breakers=half_open("a"))
    assert [call.job for call in alone.plan()] == [suspect]


def test_a_misconfiguration_makes_its_job_no_probe_either() -> None:
    suspect, other = begun(1, a=(0, -1.0)), begun(2)
    state = State({"a": {}}, {"a": [0.0]}, begun=[suspect, other], breakers=half_open("a"))
    assert [call.job for call in state.plan()] == [other]


NAMES = ["a", "b", "c"]
SECONDS = st.sampled_from([0.0, 0.0, 0.4, 0.9, 1.5, 3.0, 4.9, 5.1, 8.0])
ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "order": st.integers(1, 3),
        "cost_usd": st.sampled_from(["0", "1"]),
        "spill_after_seconds": st.sampled_from([0, 1, 5]),
        "max_in_flight": st.integers(1, 3),
        "max_attempts": st.integers(1, 3),
    },
)
PAST = st.dictionaries(
    st.sampled_from(NAMES),
    st.tuples(st.integers(0, 3), st.sampled_from([-9.0, -1.0, 0.0, 0.3, 2.0, 20.0])),
)
BREAKERS = st.dictionaries(
    st.sampled_from(NAMES), st.tuples(st.integers(1, 6), st.sampled_from([-1.0, 20.0]))
)


@st.composite
def states(draw: st.DrawFn) -> State:
    names = NAMES[: draw(st.integers(1, 3))]
    jobs = [
        JobInLine(
            flow(draw(st.integers(1, 3))),
            1,
            UUID(int=1000 + number),
            {name: PastFailures(*one) for name, one in draw(PAST).items() if name in names},
        )
        for number in range(draw(st.integers(0, 5)))
    ]
    return State(
        {name: draw(ENTRIES) for name in names},
        {name: draw(st.lists(SECONDS, max_size=4)) for name in names},
        {flow(number): draw(st.integers(0, 4)) for number in range(1, draw(st.integers(1, 4)))},
        jobs,
        slots=draw(st.integers(0, 8)),
        breakers={
            name: DeploymentState(name, failures, misconfigured=False, reason="x", blocked_for=blocked)
            for name, (failures, blocked) in draw(BREAKERS).items()
        },
    )


def may_start(state: State, job: JobInLine, deployment: Deployment) -> bool:
    """Whether a start is left that the job may use at once."""
    past = job.past.get(deployment.name)
    return (
        state.unused[deployment.name].are_due
        and state.left.left(job.flow.lane, deployment) > 0
        and job.may_go_to(deployment)
        and (past is None or past.ends_in <= 0)
    )


def waits_by_rule(state: State, job: JobInLine, deployment: Deployment) -> bool:
    """Whether a better deployment starts so soon that the job waits for it instead."""
    past = job.past.get(deployment.name, PastFailures(0, 0.0))
    for other in state.eligibility.catalog.deployments:
        known = job.past.get(other.name, PastFailures(0, 0.0))
        starts = sorted(at for at in state.starts[other.name] if at >= known.ends_in)
        if other is deployment or not starts or known.count > past.count:
            continue
        fresher = known.count < past.count and past.ends_in > -OTHER_DEPLOYMENT_SECONDS
        earlier = other.order < deployment.order
        if (fresher and starts[0] <= OTHER_DEPLOYMENT_SECONDS) or (
            earlier and starts[0] <= HORIZON + deployment.spill_after_seconds
        ):
            return True
    return False


@settings(max_examples=400, deadline=None)
@given(states())
@example(State({"a": {}, "b": {}}, {"a": [0.0], "b": [5.1, 1.5]}, begun=[begun(a=(1, -1.0))]))
@example(State({"a": {}, "b": {}}, {"a": [0.0], "b": [5.1, 0.4]}, begun=[begun(a=(1, -1.0), b=(0, 0.3))]))
def test_what_can_start_now_somewhere_starts(state: State) -> None:
    """Of the jobs that are left none may use a start that is left, but by the rules that make it wait."""
    planned = {id(call.job) for call in state.plan()}
    left = [job for job in state.begun if id(job) not in planned]
    started = Counter(call.job.flow.id for call in state.calls if call.job.id is None)
    left += [JobInLine(one, 1) for one, count in state.queued.items() if count > started[one.id]]
    for job in left:
        for deployment in state.eligibility.catalog.deployments:
            idle = may_start(state, job, deployment)
            assert not idle or waits_by_rule(state, job, deployment), (job, deployment.name, state.calls)


@settings(max_examples=400, deadline=None)
@given(states())
def test_a_plan_never_has_more_calls_than_tokens_places_and_jobs(state: State) -> None:
    calls = Counter(call.deployment.name for call in state.plan())
    assert calls.total() <= state.slots
    for name, count in calls.items():
        deployment, breaker = state.deployment(name), state.breakers.get(name)
        assert count <= sum(at <= HORIZON for at in state.starts[name])
        assert count <= (deployment.max_in_flight or max(1, state.slots // 2))
        if breaker and breaker.breaker != "closed":
            assert (count, breaker.breaker) == (1, "half-open")
    for one in state.queued:
        assert sum(call.job.flow == one and call.job.id is None for call in state.calls) <= state.queued[one]
    assert max(Counter(id(call.job) for call in state.calls).values(), default=1) == 1


def test_a_job_is_not_claimed_before_its_back_off_ends_although_its_call_would_start_after_it() -> None:
    assert State({"a": {}}, {"a": [0.9]}, begun=[begun(a=(1, 0.3))]).served() == {}


@settings(max_examples=200, deadline=None)
@given(states())
def test_no_call_goes_where_the_job_is_held_back_or_used_up(state: State) -> None:
    for call in state.plan():
        past = call.job.past.get(call.deployment.name)
        assert past is None or (past.ends_in <= 0 and past.count < call.deployment.max_attempts)


@settings(max_examples=100, deadline=None)
@given(states(), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_nothing(state: State, random: Any) -> None:
    """Neither that of the groups nor that of the flows."""
    first = [(call.job.flow.id, call.job.id, call.deployment.name) for call in state.plan()]
    names, flows = list(state.starts), list(state.queued)
    random.shuffle(names)
    random.shuffle(flows)
    state.starts = {name: state.starts[name] for name in names}
    state.queued = {one: state.queued[one] for one in flows}
    assert [(call.job.flow.id, call.job.id, call.deployment.name) for call in state.plan()] == first
