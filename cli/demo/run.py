"""The demo, step by step: start, submit, wait, verify, download, check the account, stop."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from cli.demo import pictures, stack, tour
from cli.demo.client import Client, client
from cli.demo.deadline import DemoDeadline
from cli.demo.display import Bar, Display
from cli.demo.errors import DemoFailed
from cli.demo.orders import ORDERS, Order
from cli.demo.receiver import Receiver
from cli.demo.result import FINAL, Result, require_completed

FUNDS_USD = Decimal(10)
"""What the demo's account has: its jobs cost about 1 USD."""

POLL_SECONDS = 0.1
"""Between two polls: the demo's jobs take about 1 s."""

COMMAND_SECONDS = 60.0
"""For the command that makes the account: it takes seconds on a busy machine, most of them for imports."""


@dataclass
class Job:
    """An order that was submitted, and its final status body, which is empty until the job is final."""

    order: Order
    request_id: str
    body: bytes = b""

    @property
    def status(self) -> dict[str, Any]:
        """The body as JSON."""
        content: dict[str, Any] = json.loads(self.body)
        return content


def run(
    output: Path, display: Display, deadline: DemoDeadline, orders: Sequence[Order] = ORDERS
) -> list[Path]:
    """Run the demo; the files of the images that it wrote to `output`.

    Raises:
        DemoFailed: the service did not do what it promises. The ends of the stack's logs have been printed.
    """
    with tempfile.TemporaryDirectory(prefix="imagequeue-demo-") as name, Receiver().open() as receiver:
        directory = Path(name)
        display.say("starting Postgres, Redis, the API, a dispatcher, workers and the simulated upstreams")
        allowed = {"IMAGEQUEUE_EGRESS_ALLOW": receiver.address}
        try:
            with stack.running(directory, allowed, deadline) as running:
                display.say(f"ready {running.api_url}")
                results = _Session(running, receiver, display, deadline).run(orders, output)
            display.say("everything has stopped")
        except (DemoFailed, httpx.HTTPError):
            display.console.print(stack.log_tails(directory), highlight=False, markup=False, soft_wrap=True)
            raise
    display.table(results)
    return [output / file for result in results for file in result.files]


@dataclass
class _Session:
    """What one client does with a running stack."""

    stack: stack.Stack
    receiver: Receiver
    display: Display
    deadline: DemoDeadline
    jobs: list[Job] = field(default_factory=list[Job])

    def run(self, orders: Sequence[Order], output: Path) -> list[Result]:
        """Submit the orders; check that each is served as the service promises, and paid once."""
        words = ("keys", "create", "demo", "--funds", str(FUNDS_USD), "--json")
        account = self.stack.command(*words, seconds=min(COMMAND_SECONDS, self.deadline.left("a key")))
        self.display.say(f"an account with {FUNDS_USD} USD, and its key")
        with client(self.stack.api_url, account["key"]) as service:
            self._submit(service, orders)
            self._await_all(service, account["webhook_secret"])
            results = self._collect(service, output)
            results += self._tour(service, output)
            self._check_wallet(service)
        return results

    def _tour(self, service: Client, output: Path) -> list[Result]:
        """Let every upstream serve each of its operations; the results, one for each stop."""
        every = tour.stops(Path(self.stack.env["IMAGEQUEUE_CATALOG"]))
        self.display.say(f"a tour of the upstreams: {len(every)} times an operation of one of them")
        results, missing = list[Result](), set(every)
        for number in range(1, tour.ROUNDS + 1):
            for job in self._serve_at_once(service, list(tour.round_of(number, every, missing))):
                stop = tour.stop_of(job.order, service.deployments(job.request_id)[0])
                if stop in missing:
                    missing.remove(stop)
                    file_number = len(self.jobs) + len(results) + 1
                    results.append(self._download(service, job, file_number, output))
            if not missing:
                return results
        raise DemoFailed(f"No job came to {', '.join(sorted(map(str, missing)))}")

    def _serve_at_once(self, service: Client, orders: list[Order]) -> list[Job]:
        """Submit orders at the same time and wait until all are served."""

        def submitted(order: Order) -> Job:
            return Job(order, service.submit(order, None))

        with ThreadPoolExecutor(len(orders)) as pool:
            jobs = list(pool.map(submitted, orders))
        with self.display.bar(len(jobs)) as bar:
            self._poll(service, list(jobs), bar)
        for job in jobs:
            require_completed(job.status)
        return jobs

    def _submit(self, service: Client, orders: Sequence[Order]) -> None:
        for order in orders:
            webhook_url = self.receiver.url if order.webhook else None
            self.jobs.append(Job(order, service.submit(order, webhook_url)))
        self.display.say(f"{len(orders)} jobs submitted, {sum(order.images for order in orders)} images")

    def _await_all(self, service: Client, secret: str) -> None:
        with self.display.bar(len(self.jobs)) as bar:
            self._poll(service, [job for job in self.jobs if not job.order.webhook], bar)
            for job in self.jobs:
                if job.order.webhook:
                    self._await_webhook(service, job, secret)
                    bar.advance()

    def _poll(self, service: Client, waiting: list[Job], bar: Bar) -> None:
        """Poll until all are final. A client has no event to wait for."""
        while waiting:
            for job in waiting:
                body = service.status(job.request_id)
                if json.loads(body)["status"] in FINAL:
                    job.body = body
                    self.display.say(f"{job.status['status']} {job.request_id}")
                    bar.advance()
            waiting = [job for job in waiting if not job.body]
            if waiting:
                time.sleep(min(POLL_SECONDS, self.deadline.left(f"{len(waiting)} jobs")))

    def _await_webhook(self, service: Client, job: Job, secret: str) -> None:
        """Wait for the webhook of a job; it must have the same bytes as the answer of the status route."""
        webhook_id, job.body = self.receiver.webhook(secret, self.deadline)
        if job.body != service.status(job.request_id):
            raise DemoFailed(f"The webhook {webhook_id} is not the status of {job.request_id}")
        self.display.say(f"{job.status['status']} {job.request_id}")
        self.display.say(f"announced by the webhook {webhook_id}, whose signature is right")

    def _collect(self, service: Client, output: Path) -> list[Result]:
        output.mkdir(parents=True, exist_ok=True)
        return [self._download(service, job, number, output) for number, job in enumerate(self.jobs, 1)]

    def _download(self, service: Client, job: Job, number: int, output: Path) -> Result:
        urls = require_completed(job.status)
        if len(urls) != job.order.images:
            raise DemoFailed(f"{job.request_id} has {len(urls)} images, not {job.order.images}")
        files: dict[str, tuple[int, int]] = {}
        for ordinal, url in enumerate(urls, 1):
            name = job.order.file_name(number, ordinal)
            files[name] = pictures.save_checked(service.download(url), job.order, output / name)
        return Result(job.order, job.status, files, service.deployments(job.request_id))

    def _check_wallet(self, service: Client) -> None:
        wallet = service.wallet()
        if wallet["held"] or wallet["available"] + wallet["spent"] != FUNDS_USD:
            raise DemoFailed(f"The wallet does not add up: {wallet}")
        self.display.say(f"spent {wallet['spent']} USD, left {wallet['available']} USD, nothing held")
