"""The header `Prefer`: what is read, what is ignored, and what a submit is answered with then."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from api.preferences import AnswerPlan, Preferences, read_preferences


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ([], Preferences()),
        (["respond-async"], Preferences(respond_async=True)),
        (["Respond-Async , WAIT = 10"], Preferences(True, 10)),
        (["respond-async", "wait=10"], Preferences(True, 10)),
        (['wait="10"'], Preferences(False, 10)),
        (["wait=10; unit=s, respond-async; x"], Preferences(True, 10)),
        (['wait=10;a=",wait=3"'], Preferences(False, 10)),
        (["wait=3, wait=10"], Preferences(False, 3)),
        (["wait=soon, wait=10"], Preferences()),
        (["wait=-1"], Preferences()),
        (["wait=1.5"], Preferences()),
        (["wait=\u0661"], Preferences()),
        (["wait="], Preferences()),
        (["wait"], Preferences()),
        (["wait=9999999999"], Preferences()),
        (["return=minimal, handling=strict"], Preferences()),
        (["respond-asynchronously"], Preferences()),
        ([',,=,;,"', "respond-async"], Preferences(respond_async=True)),
        (["=" * 100_000], Preferences()),
        (['"' * 100_000], Preferences()),
    ],
)
def test_what_is_read(given: list[str], read: Preferences) -> None:
    headers = Headers(raw=[(b"prefer", one.encode("utf-8")) for one in given])
    assert read_preferences(headers) == read


@pytest.mark.parametrize(
    ("preferences", "kind", "plan", "applied"),
    [
        (Preferences(), "id", AnswerPlan("id", 0, or_accepted=True), None),
        (Preferences(), "job", AnswerPlan("job", 300, or_accepted=False), None),
        (Preferences(), "stream", AnswerPlan("stream", 300, or_accepted=False), None),
        (Preferences(False, 5), "id", AnswerPlan("job", 5, or_accepted=True), "wait=5"),
        (Preferences(False, 5), "job", AnswerPlan("job", 5, or_accepted=True), "wait=5"),
        (Preferences(False, 0), "job", AnswerPlan("id", 0, or_accepted=True), "wait=0"),
        (Preferences(False, 900), "job", AnswerPlan("job", 300, or_accepted=True), "wait=300"),
        (Preferences(False, 5), "stream", AnswerPlan("stream", 5, or_accepted=False), "wait=5"),
        (Preferences(True), "job", AnswerPlan("id", 0, or_accepted=True), None),
        (Preferences(True), "stream", AnswerPlan("id", 0, or_accepted=True), None),
        (Preferences(True, 5), "stream", AnswerPlan("job", 5, or_accepted=True), "wait=5"),
    ],
)
def test_what_it_comes_to(preferences: Preferences, kind: str, plan: AnswerPlan, applied: str | None) -> None:
    assert preferences.plan(kind, 300.0) == plan  # type: ignore[arg-type]
    assert preferences.applied(plan, accepted=False).get("Preference-Applied") == applied
    named = ["respond-async"] if preferences.respond_async else []
    heeded = ", ".join([*named, *([applied] if applied else [])])
    assert preferences.applied(plan, accepted=True).get("Preference-Applied", "") == heeded
