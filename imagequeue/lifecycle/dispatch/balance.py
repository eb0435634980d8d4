"""Balance: a small backlog starts on all deployments at once, not one call after the other on the cheapest.

Among deployments of one order the earliest start decides, and cost only between equal ones
(docs/design/rate-limiting.md, "Overflow and balance"). That is a rule for each call, but a group is granted
many tokens at a time. So a group's share is what it would get if all groups that are still to be served in
this pass took one call after the other by (start, cost): four images of one job start on four deployments,
where that is sooner. A backlog that uses every token anyway is counted no further than that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge

from sqlalchemy import Connection

from imagequeue.domain.catalog import Deployment
from imagequeue.domain.images import Requirement
from imagequeue.domain.quota import grant
from imagequeue.lifecycle.dispatch.claim import Candidate, find_candidates
from imagequeue.lifecycle.dispatch.dispatch_pass import Pass
from imagequeue.store.jobs.flows import count_waiting

Start = tuple[float, float, str, int]
"""When a call may start (database seconds), its cost (USD), its group, and how many images it asks for."""


@dataclass(frozen=True, slots=True)
class Balance:
    """The rule for one pass of the dispatcher."""

    known: Pass

    def share(
        self,
        connection: Connection,
        candidates: Mapping[int, Candidate],
        tokens: int,
        rivals: Sequence[Sequence[Deployment]],
    ) -> int:
        """How many of its tokens a group uses now; `rivals` are the groups after it in this pass."""
        if tokens <= 1:
            return tokens
        own = self._starts(candidates, tokens)
        others = [list(self._starts_of(members, candidates)) for members in rivals]
        if not any(others):
            return tokens
        name = next(iter(candidates.values())).deployment.group
        in_turn = list(merge(own, *others))
        images = count_waiting(connection, list(candidates), sum(start[3] for start in in_turn))
        return sum(start[2] == name for start in _used(in_turn, images))

    def _starts_of(
        self, members: Sequence[Deployment], candidates: Mapping[int, Candidate]
    ) -> Iterator[Start]:
        """The calls that a rival could start, as far as it can serve what the group would serve."""
        rival = find_candidates(members, self.known)
        order = max(candidate.deployment.order for candidate in candidates.values())
        common = {
            id_: one for id_, one in rival.items() if id_ in candidates and one.deployment.order <= order
        }
        return iter(self._starts(common, self.known.at_once) if common else ())

    def _starts(self, candidates: Mapping[int, Candidate], tokens: int) -> list[Start]:
        by_deployment = {(one.flow.lane, one.deployment.name): one.deployment for one in candidates.values()}
        limits = sum(self.known.limits.left(lane, one) for (lane, _), one in by_deployment.items())
        first = next(iter(candidates.values())).deployment
        group = self.known.groups[first.group]
        cost, per_call = float(first.cost_usd or 0), max(map(_images_per_call, candidates.values()))
        slots = grant(group.quota, group.state, min(tokens, limits))
        return [(slot, cost, first.group, per_call) for slot in slots]


def _images_per_call(candidate: Candidate) -> int:
    """How many images a call brings at most: a call is for one job."""
    return min(candidate.images_per_call, Requirement.parse(candidate.flow.requirement).image_count)


def _used(in_turn: Sequence[Start], images: int) -> Iterator[Start]:
    """The calls that so many images need, the earliest ones."""
    for start in in_turn:
        if images <= 0:
            return
        images -= start[3]
        yield start
