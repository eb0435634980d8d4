"""Row `webhooks`: how soon webhooks arrive, beside black holes and in a burst (docs/design/webhooks.md).

Deliveries are written as settling a job writes them, one by one, each followed by the wake-up; a worker of 64
slots delivers them. The time of one runs from its commit to the arrival of its whole body
at a receiver on this machine.

1. A healthy receiver alone.
2. The same, while a black hole gets half of all events and another receiver drips its answers: the p99 shall
   stay within twice the first.
3. A burst that is due at once, and for comparison a bare loop that signs and posts as many over one
   connection after the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text

from bench.claim import percentile
from bench.receivers import BlackHole, Dripping, Healthy
from bench.stack import KEY, Stack, deployment, running
from bench.table import Line
from imagequeue.domain.ids import new_id
from imagequeue.egress.client import GuardedClient
from imagequeue.egress.grammar import check_destination
from imagequeue.egress.policy import EgressPolicy
from imagequeue.signing import sign
from imagequeue.signing.webhooks import new_webhook_secret
from imagequeue.wakeup import Wakeups

MODEL = "microsoft-mai-image-2-5"
WARM_UP, EVENTS, BURST = 50, 400, 10_000
"""Deliveries before the measurement (the processes connect, the target's limit grows), of it, and at once."""
EVERY_SECONDS: Final = 0.05
"""Between two events: no burst, so a queue that builds up is the delivery's own."""
PATIENCE_SECONDS: Final = 1200.0
"""Until a delivery counts as lost: a busy machine takes minutes for the burst."""
MEDIAN_MS, WORST_MS, SLOWER = 20.0, 150.0, 2.0
"""Targets: p50 and p99 alone, and how much the p99 may grow beside a black hole."""
BARE: Final = 1000
"""Posts of the bare loop: enough for a rate."""
BARE_THREADS: Final = 16
"""As many as a target's attempts in flight at the most."""
CONCURRENCY: Final = 64

_WRITE = text("""
    INSERT INTO deliveries (id, account_id, job_id, webhook_id, url, target, body)
    SELECT id, :account, :job, 'msg_' || id, :target || '/' || id, :target, :body
    FROM unnest(CAST(:ids AS uuid[])) AS id
""")
_UPSTREAMS: Final = {
    "unused": {"provider": "foundry", "keys": [KEY], "models": {"mai": {"rpm": 60, "window_seconds": 60}}}
}
_CATALOG: Final = deployment("unused", MODEL, 60)
_BODY: Final = (
    '{"status": "COMPLETED", "output": {"media_url": ["https://images.example/of/usual/length.png"]}}'
)


class Sender:
    """Writes deliveries of one job, and tells the worker."""

    def __init__(self, stack: Stack, wakeups: Wakeups) -> None:
        self._stack, self._wakeups = stack, wakeups
        (self._job,) = stack.submit(1, MODEL)

    def send(self, url: str, count: int = 1) -> list[UUID]:
        """Write deliveries that are due now, in one transaction; their ids."""
        ids = [new_id() for _ in range(count)]
        values = {
            "account": self._stack.account_id,
            "job": self._job,
            "target": url,
            "body": _BODY,
            "ids": ids,
        }
        with self._stack.runtime.engine.begin() as connection:
            connection.execute(_WRITE, values)
        self._wakeups.jobs_final([self._job])
        return ids


def run() -> list[Line]:
    """Measure once."""
    with (
        Healthy() as healthy,
        BlackHole() as hole,
        Dripping() as dripping,
        running(_UPSTREAMS, [MODEL], _CATALOG) as stack,
    ):
        hosts = ",".join(one.url.removeprefix("http://") for one in (healthy, hole, dripping))
        stack.environment["IMAGEQUEUE_EGRESS_ALLOW"] = hosts
        stack.start("worker", "--queues", "deliveries", "--concurrency", str(CONCURRENCY))
        sender = Sender(stack, Wakeups(stack.runtime.redis))
        _latencies(sender, healthy, WARM_UP, lambda _: None)
        alone = _latencies(sender, healthy, EVENTS, lambda _: None)

        def beside(number: int) -> None:
            sender.send(hole.url)
            sender.send((hole if number % 2 else dripping).url)

        troubled = _latencies(sender, healthy, EVENTS, beside)
        began = time.perf_counter()
        burst = sender.send(healthy.url, BURST)
        healthy.wait_for(burst, PATIENCE_SECONDS)
        rate = BURST / (time.perf_counter() - began)
        lost = [one for one in burst if one not in healthy.arrived]
    return [*_lines(alone, troubled), *_burst_lines(rate, len(lost), _bare_rate())]


def _latencies(sender: Sender, healthy: Healthy, count: int, also: Callable[[int], None]) -> list[float]:
    """Milliseconds from the commit of each delivery to its arrival."""
    sent = dict[UUID, float]()
    for number in range(count):
        also(number)
        (one,) = sender.send(healthy.url)
        sent[one] = time.perf_counter()
        time.sleep(EVERY_SECONDS)
    healthy.wait_for(list(sent), PATIENCE_SECONDS)
    return [max(0.0, healthy.arrived[one] - at) * 1000 for one, at in sent.items()]


def _bare_rate() -> float:
    """Signed POSTs a second to a healthy receiver, without a database."""
    with Healthy() as healthy:
        policy = EgressPolicy.parse(allow=healthy.url.removeprefix("http://"))
        client, secret = GuardedClient(policy, user_agent="bench"), new_webhook_secret()
        destination = check_destination(f"{healthy.url}/{new_id()}", policy)

        def post(_: int) -> None:
            body = _BODY.encode()
            client.post(destination, body, sign("msg_bench", datetime.now(UTC), body, [secret]))

        began = time.perf_counter()
        with ThreadPoolExecutor(BARE_THREADS) as pool:
            list(pool.map(post, range(BARE)))
        return BARE / (time.perf_counter() - began)


def _lines(alone: list[float], troubled: list[float]) -> Iterator[Line]:
    middle, worst = percentile(alone, 0.5), percentile(alone, 0.99)
    beside = percentile(troubled, 0.99)
    yield Line("webhooks", "settled to received, p50", f"{middle:.1f} ms", "< 20 ms", middle < MEDIAN_MS)
    yield Line("webhooks", "settled to received, p99", f"{worst:.1f} ms", "< 150 ms", worst < WORST_MS)
    what = "the same p99 beside a black hole (half of all events) and a drip"
    yield Line("webhooks", what, f"{beside:.1f} ms", f"< {SLOWER * worst:.1f} ms", beside <= SLOWER * worst)


def _burst_lines(rate: float, lost: int, bare: float) -> Iterator[Line]:
    yield Line("webhooks", f"burst of {BURST} to one receiver: lost", str(lost), "0", lost == 0)
    yield Line("webhooks", "burst: rate", f"{rate:.0f}/s, {rate / bare:.0%} of the bare loop's")
    yield Line("webhooks", f"bare loop of signed POSTs, {BARE_THREADS} threads: rate", f"{bare:.0f}/s")
