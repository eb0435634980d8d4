"""The weather over the upstreams: gusts, which hit a few calls, and spells, which last for seconds.

A gust hits the next calls of one upstream: errors, delays, spoiled answers, and answers in forms that no
document has, whose images are paid for and usable. A spell hits every call of one or several upstreams while
it lasts: an outage, a status route that hangs, links that fail. Firewalls stand during the whole storm, and
refuse prompts with a certain word.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import httpx

GUST_SECONDS = (1.5, 4.0)
"""Between two gusts: each kind comes about three times in a run."""
CALM_SECONDS = (18.0, 32.0)
"""Between two spells: about as long as a breaker stays open at first, so that outages may meet probes."""

SPELLS = ("outage", "outage", "outage", "polls hang", "polls fail", "links fail")
"""The kinds, as a deck that is shuffled and drawn to its end, so that each has its turn; half are outages."""

FIREWALLED, POISON, ODD = "owl", "basilisk", "griffin"
"""Words of prompts: some firewalls refuse the first, all refuse the second, upstreams refuse the third."""

POLLED = "pixazo"
"""The upstream that is polled."""
LINKING = ("aiml", "pixazo")
"""The upstreams whose answers name images by URL."""
_FIREWALLS = ("west", "openrouter")

Armed = Mapping[str, Any]

_GUSTS: tuple[Armed, ...] = (
    {"kind": "status", "status": 500, "count": 6},
    {"kind": "status", "status": 503, "count": 4},
    {"kind": "status", "status": 429, "headers": {"Retry-After": "2"}, "count": 1},
    {"kind": "status", "status": 502, "count": 2},
    {"kind": "delay", "seconds": 4, "count": 12},
    {"kind": "hang", "count": 2},
    {"kind": "hang", "stage": "mid_response", "count": 1},
    {"kind": "reset", "count": 3},
    {"kind": "reset", "stage": "mid_response", "count": 2},
    {"kind": "html", "stage": "after_admission", "count": 2},
    {"kind": "truncated_json", "count": 3},
    {"kind": "truncated_base64", "count": 2},
    {"kind": "not_an_image", "count": 3},
    {"kind": "no_data", "count": 2},
    {"kind": "compressed", "count": 4},
    {"kind": "compressed", "encoding": "deflate", "count": 4},
    {"kind": "compressed", "count": 4, "match": {"upstream": POLLED, "operation": "poll"}},
    {"kind": "compressed", "count": 4, "match": {"upstream": LINKING[0], "operation": "download"}},
    {"kind": "line_breaks", "count": 4},
    {"kind": "raw_image", "count": 3},
    {"kind": "url_text", "count": 3},
    {"kind": "relative_url", "count": 3, "match": {"upstream": LINKING[0]}},
    {"kind": "one_for_array", "count": 4},
    {"kind": "one_for_array", "count": 4, "match": {"upstream": POLLED, "operation": "poll"}},
    *(
        {"kind": "redirected_links", "hops": hops, "count": 4, "match": {"upstream": upstream}}
        for hops, upstream in ((1, LINKING[0]), (2, LINKING[1]), (3, LINKING[0]), (3, LINKING[1]))
    ),
)

_OUTAGES: tuple[Armed, ...] = (
    {"kind": "status", "status": 503, "stage": "before_admission"},
    {"kind": "status", "status": 500, "stage": "before_admission"},
    {"kind": "html", "status": 502, "stage": "before_admission"},
    {"kind": "reset", "stage": "before_admission"},
    {"kind": "hang", "stage": "before_admission"},
)
_OUTAGE_SECONDS = (5.0, 20.0)
"""A job outlives 120 s of outage; shorter ones leave time for several in a run."""

_POLLS_HANG: Armed = {"kind": "hang", "match": {"operation": "poll"}}
_HANG_SECONDS = (10.0, 25.0)
_POLLS_FAIL: tuple[Armed, ...] = (
    {"kind": "status", "status": 404, "match": {"operation": "poll"}},
    {"kind": "status", "status": 503, "match": {"operation": "poll"}},
    {"kind": "html", "status": 403, "match": {"operation": "poll"}},
)
_LINKS_FAIL: tuple[Armed, ...] = (
    {"kind": "status", "status": 404, "match": {"operation": "download"}},
    {"kind": "status", "status": 503, "match": {"operation": "download"}},
    {"kind": "html", "match": {"operation": "download"}},
    {"kind": "reset", "match": {"operation": "download"}},
)
_FAIL_SECONDS = (2.0, 6.0)
"""Less than is left of a call's deadline when its link is known: no image may be lost by it."""


@dataclass(slots=True)
class Spell:
    """Weather that lasts: which upstreams it hits, and when (seconds since the epoch).

    With a `word` it hits only the calls whose prompt contains it.
    """

    kind: str
    upstreams: frozenset[str]
    began: float
    ended: float = math.inf
    word: str | None = None

    def hits(self, upstream: str, prompt: str, since: float, until: float) -> bool:
        """Whether it hits calls of an upstream with this prompt at some moment of a time."""
        return (
            upstream in self.upstreams
            and self.began <= until
            and self.ended >= since
            and (self.word is None or self.word in prompt)
        )


def odd_hints(now: float) -> Sequence[Mapping[str, str]]:
    """Headers of a 429 in forms that are seen in the field; `now` in seconds since the epoch.

    Each asks for at most some seconds, or cannot be read: a longer one would be an outage for the whole run.
    """
    return (
        {"Retry-After": "2s"},
        {"Retry-After": "soon"},
        {"Retry-After": "-1"},
        {"Retry-After": "1e-20000"},
        {"Retry-After": "1e99999999999"},
        {"Retry-After": "Thu, 01 Jan 1970 00:00:00 +9999"},
        {"retry-after-ms": "1500"},
        {"X-RateLimit-Reset": str(round(now) + 3)},
        {"X-RateLimit-Reset": str(round((now + 3) * 1000))},
        {"X-RateLimit-Reset-Requests": "1s500ms"},
    )


class Weather:
    """Arms faults at a simulator until `end`. `spells` are those that lasted, `gusts` counts the others.

    Of the weather only outages hit the `sheltered` upstreams. A gust waits for calls: where it waited for the
    probes of a breaker, one after the other, the backfill would stand still for as long as the faults last.
    """

    def __init__(
        self, url: str, upstreams: Collection[str], seed: int, sheltered: Collection[str] = ()
    ) -> None:
        self.spells: list[Spell] = []
        self.gusts = 0
        self._url, self._upstreams = url, sorted(upstreams)
        self._outage_prone = sorted({*upstreams, *sheltered})
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._blow, args=[Random(seed)], name="gusts", daemon=True),
            threading.Thread(target=self._make_spells, args=[Random(seed + 2)], name="spells", daemon=True),
        ]

    def begin(self) -> None:
        """Put up the firewalls, and begin with gusts and spells."""
        self.put_up_firewalls()
        for thread in self._threads:
            thread.start()

    def put_up_firewalls(self) -> None:
        """Refuse prompts with certain words until `end`."""
        page: Armed = {"kind": "html", "status": 403, "stage": "before_admission"}
        refusal: Armed = {"kind": "status", "status": 400, "message": "Creature 7 is not available."}
        self._add("firewall", [page], _FIREWALLS, FIREWALLED)
        self._add("firewall", [page], self._upstreams, POISON)
        self._add("refusal", [refusal], self._upstreams, ODD)

    def end(self, kept: Collection[int] = ()) -> None:
        """Disarm everything but the faults with the `kept` ids; also what had not been hit yet."""
        self._over.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        armed = httpx.get(f"{self._url}/_sim/faults", trust_env=False, timeout=30).raise_for_status()
        self._remove([fault["id"] for fault in armed.json()["faults"] if fault["id"] not in kept])
        for spell in self.spells:
            spell.ended = min(spell.ended, time.time())

    def _blow(self, random: Random) -> None:
        while not self._over.wait(random.uniform(*GUST_SECONDS)):
            self.gusts += self._arm(self.draw_gust(random)) is not None

    def draw_gust(self, random: Random) -> Armed:
        """A fault for the next few calls of one upstream."""
        hint = random.choice(odd_hints(time.time()))
        odd = {"kind": "status", "status": 429, "headers": hint, "message": "Slow down", "count": 1}
        fault = random.choice((*_GUSTS, odd))
        return {**fault, "match": fault.get("match", {"upstream": random.choice(self._upstreams)})}

    def _make_spells(self, random: Random) -> None:
        deck = list[str]()
        while not self._over.wait(random.uniform(*CALM_SECONDS)):
            deck = deck or random.sample(SPELLS, len(SPELLS))
            kind = deck.pop()
            faults, upstreams, seconds = self.draw_spell(kind, random)
            spell, ids = self._add(kind, faults, upstreams)
            self._over.wait(seconds)
            self._remove(ids)
            spell.ended = time.time()

    def draw_spell(self, kind: str, random: Random) -> tuple[Sequence[Armed], Sequence[str], float]:
        """The faults of a spell of this kind, its upstreams and its length in seconds."""
        match kind:
            case "polls hang":
                return [_POLLS_HANG], [POLLED], random.uniform(*_HANG_SECONDS)
            case "polls fail":
                return [random.choice(_POLLS_FAIL)], [POLLED], random.uniform(*_FAIL_SECONDS)
            case "links fail":
                return [random.choice(_LINKS_FAIL)], LINKING, random.uniform(*_FAIL_SECONDS)
            case _:
                several = random.sample(self._outage_prone, random.randint(2, len(self._outage_prone)))
                return [random.choice(_OUTAGES)], several, random.uniform(*_OUTAGE_SECONDS)

    def _add(
        self, kind: str, faults: Sequence[Armed], upstreams: Sequence[str], word: str | None = None
    ) -> tuple[Spell, list[int]]:
        spell = Spell(kind, frozenset(upstreams), time.time(), word=word)
        self.spells.append(spell)
        words = {} if word is None else {"prompt_contains": word}
        armed = [
            self._arm({**fault, "match": {**fault.get("match", {}), "upstream": name, **words}})
            for fault in faults
            for name in upstreams
        ]
        return spell, [id_ for id_ in armed if id_ is not None]

    def _arm(self, fault: Armed) -> int | None:
        """Arm a fault; its id, or None if the simulator is too busy to answer."""
        try:
            answer = httpx.post(f"{self._url}/_sim/faults", json=fault, trust_env=False, timeout=10)
        except httpx.HTTPError:
            return None
        return int(answer.raise_for_status().json()["id"])

    def _remove(self, ids: Collection[int]) -> None:
        for id_ in ids:
            httpx.delete(f"{self._url}/_sim/faults/{id_}", trust_env=False, timeout=30)
