"""Weather over a real simulator: it arms only what the simulator takes, and leaves nothing behind."""

from __future__ import annotations

from random import Random

import httpx
import pytest

from chaos.upstreams import DEPLOYMENTS
from chaos.weather import FIREWALLED, POISON, POLLED, SPELLS, Spell, Weather, odd_hints
from simulator.config import SimulatorConfig
from simulator.faults import Fault
from tests.loopback import NO_TLS
from tests.servers import SimulatorThread
from tests.simulator.conftest import KEY, UPSTREAMS

NOW = 1_800_000_000.0


def statuses(server: SimulatorThread, *prompts: str) -> list[int]:
    url = f"{server.url}/east/mai/v1/images/generations"
    headers = {"api-key": KEY}
    return [
        httpx.post(
            url, json={"model": "mai", "prompt": prompt}, headers=headers, trust_env=False, verify=NO_TLS
        ).status_code
        for prompt in prompts
    ]


def test_firewalls_refuse_prompts_until_the_weather_ends() -> None:
    with SimulatorThread(SimulatorConfig(upstreams=UPSTREAMS)) as server:
        weather = Weather(server.url, ["east", "west"], seed=1)
        weather.put_up_firewalls()
        assert statuses(server, f"a {POISON}", f"an {FIREWALLED}", "a fox") == [403, 200, 200]
        weather.end()
        assert statuses(server, f"a {POISON}") == [200]
    assert {spell.kind for spell in weather.spells} >= {"firewall", "refusal"}
    assert all(spell.began <= spell.ended for spell in weather.spells)


@pytest.mark.parametrize("kind", sorted(set(SPELLS)))
@pytest.mark.parametrize("seed", range(12))
def test_every_spell_and_gust_is_a_fault_that_the_simulator_knows(seed: int, kind: str) -> None:
    weather, random = Weather("http://127.0.0.1:1", DEPLOYMENTS, seed), Random(seed)  # noqa: S311  # a seed shall repeat
    gust = weather.draw_gust(random)
    faults, upstreams, seconds = weather.draw_spell(kind, random)
    for fault in (gust, *faults):
        Fault.model_validate(fault)
    assert gust["count"] >= 1
    assert (len(upstreams) >= 2) == (kind in {"outage", "links fail"})
    assert kind in {"outage", "links fail"} or upstreams == [POLLED]
    assert 0 < seconds < 30


def test_odd_hints_are_headers_that_can_be_sent() -> None:
    for hint in odd_hints(NOW):
        Fault.model_validate({"kind": "status", "status": 429, "headers": hint})
        assert all(value.isascii() for value in hint.values())


@pytest.mark.parametrize(
    ("upstream", "prompt", "since", "until", "is_hit"),
    [
        ("east", "an owl", NOW + 1, NOW + 2, True),
        ("west", "an owl", NOW + 1, NOW + 2, False),
        ("east", "a fox", NOW + 1, NOW + 2, False),
        ("east", "an owl", NOW - 2, NOW - 1, False),
        ("east", "an owl", NOW - 1, NOW + 30, True),
        ("east", "an owl", NOW + 11, NOW + 30, False),
    ],
)
def test_a_spell_hits_its_upstreams_and_prompts_while_it_lasts(
    upstream: str, prompt: str, since: float, until: float, *, is_hit: bool
) -> None:
    spell = Spell("firewall", frozenset({"east"}), NOW, NOW + 10, FIREWALLED)
    assert spell.hits(upstream, prompt, since, until) is is_hit
