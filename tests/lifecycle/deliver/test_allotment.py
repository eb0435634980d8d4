"""Who gets the free worker slots, without a database."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from imagequeue.domain.ids import new_id
from imagequeue.lifecycle.deliver.allotment import MOST_OF_AN_ACCOUNT, Allotment, DueTarget, Lease

ACME, OTHER = new_id(), new_id()


def target(
    name: str,
    *,
    account: UUID = ACME,
    limit: int = 16,
    firsts: int = 0,
    retries: int = 0,
    troubled: bool = False,
    proven: bool = True,
) -> DueTarget:
    ids = [new_id() for _ in range(firsts + retries)]
    return DueTarget((account, name), limit, troubled, proven, ids[:firsts], ids[firsts:])


def black_hole(name: str, account: UUID = ACME, **more: int) -> DueTarget:
    return target(name, account=account, troubled=True, proven=False, **more)


def shares(slots: int, *targets: DueTarget, leases: list[Lease] | None = None) -> Counter[str]:
    """How many deliveries of each target begin, of `slots` that all are free but for the leases."""
    taken = leases or []
    allotment = Allotment(slots, slots - sum(lease.count for lease in taken))
    owner = {one: entry.key[1] for entry in targets for one in (*entry.firsts, *entry.retries)}
    return Counter(owner[one] for one in allotment.choose(taken, targets))


def test_targets_get_places_in_turn_and_none_more_than_its_limit() -> None:
    assert shares(64, target("a", limit=4, firsts=50), target("b", limit=2, firsts=1)) == {"a": 4, "b": 1}
    assert shares(6, *(target(name, firsts=50, account=new_id()) for name in "abc")) == {
        "a": 2,
        "b": 2,
        "c": 2,
    }


def test_what_is_in_flight_counts() -> None:
    leases = [Lease((ACME, "a"), troubled=False, proven=True, count=3, retries=0)]
    assert shares(64, target("a", limit=4, firsts=50), leases=leases) == {"a": 1}


def test_an_account_has_at_most_its_places_however_many_targets_it_has() -> None:
    many = [target(f"{number}", firsts=9) for number in range(20)]
    assert sum(shares(200, *many).values()) == MOST_OF_AN_ACCOUNT
    assert sum(shares(16, *many).values()) == 8


def test_black_holes_of_many_accounts_leave_half_of_the_slots() -> None:
    holes = [black_hole(f"hole {number}", new_id(), firsts=50) for number in range(40)]
    given_out = shares(32, *holes, target("healthy", firsts=50, account=OTHER))
    assert given_out["healthy"] == 16
    assert sum(given_out.values()) == 32


def test_black_holes_of_one_account_and_those_that_it_names_anew_have_a_quarter() -> None:
    fresh = [target(f"new {number}", firsts=4, proven=False) for number in range(10)]
    assert sum(shares(32, *fresh, black_hole("hole", firsts=9)).values()) == 8


def test_first_attempts_go_before_retries_and_a_tenth_is_kept_for_retries() -> None:
    busy = [target(f"{number}", account=new_id(), firsts=16, retries=16) for number in range(4)]
    allotment = Allotment(40, 40)
    chosen = set(allotment.choose([], busy))
    assert sum(len(chosen.intersection(one.retries)) for one in busy) == 4
    assert sum(len(chosen.intersection(one.firsts)) for one in busy) == 36


def test_the_tenth_is_not_kept_while_so_many_retries_are_in_flight() -> None:
    busy = target("a", account=OTHER, firsts=16, retries=16)
    leases = [Lease((ACME, "b"), troubled=False, proven=True, count=4, retries=4)]
    chosen = set(Allotment(40, 10).choose(leases, [busy]))
    assert chosen == set(busy.firsts[:10])


@st.composite
def some_target(draw: st.DrawFn) -> DueTarget:
    health = draw(st.sampled_from(["troubled", "proven", "new"]))
    return target(
        str(draw(st.uuids())),
        account=draw(st.sampled_from([ACME, OTHER])),
        limit=draw(st.integers(1, 16)),
        firsts=draw(st.integers(0, 20)),
        retries=draw(st.integers(0, 20)),
        troubled=health == "troubled",
        proven=health == "proven",
    )


@given(st.integers(1, 80), st.lists(some_target(), max_size=12))
def test_no_cap_is_passed_and_no_delivery_is_chosen_twice(slots: int, targets: list[DueTarget]) -> None:
    chosen = Allotment(slots, slots).choose([], targets)
    assert len(chosen) == len(set(chosen)) <= slots
    half, quarter, got = max(1, slots // 2), max(1, slots // 4), set(chosen)
    of = {one.key: len(got.intersection([*one.firsts, *one.retries])) for one in targets}
    assert all(of[one.key] <= one.limit for one in targets)
    assert sum(of[one.key] for one in targets if one.troubled) <= half
    for account in (ACME, OTHER):
        own = [one for one in targets if one.key[0] == account]
        assert sum(of[one.key] for one in own) <= min(half, MOST_OF_AN_ACCOUNT)
        assert sum(of[one.key] for one in own if not one.proven) <= quarter
