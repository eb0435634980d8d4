"""Clients that are answered with an id: they repeat a submit without an answer, cancel and poll."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from http import HTTPStatus
from random import Random

import httpx

from chaos.notes import Notes, Outage, Poll
from chaos.orders import Destination, Order
from chaos.upstreams import MODEL

THREADS = 12
"""Clients that submit at the same time: enough that slow answers hold no order up."""
_RANK = {"QUEUED": 0, "PROCESSING": 1, "COMPLETED": 2, "FAILED": 2, "ERROR": 2}


class Load:
    """The clients of those orders that do not wait, in threads; `notes` are shared with other clients."""

    def __init__(self, destination: Destination, wanted: Sequence[Order], notes: Notes, seed: int) -> None:
        self.notes = notes
        self._destination = destination
        self._known: list[tuple[str, str]] = []  # request id and API key
        self._wanted = iter([order for order in wanted if not order.waiting])
        self._lock = threading.Lock()
        self._random = Random(seed)
        self._over = threading.Event()
        self._began = time.monotonic()
        self._submitters = [
            threading.Thread(target=self._submit_all, name=f"client {number}", daemon=True)
            for number in range(THREADS)
        ]
        self._poller = threading.Thread(target=self._poll, name="poller", daemon=True)

    def start(self) -> None:
        """Let the clients begin."""
        self._began = time.monotonic()
        for thread in (*self._submitters, self._poller):
            thread.start()

    def join(self, seconds: float) -> bool:
        """Wait until every order is acknowledged; False: it took longer."""
        deadline = time.monotonic() + seconds
        for thread in self._submitters:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._submitters)

    def stop(self) -> None:
        """End the polling, and clients that still wait for an answer."""
        self._over.set()
        self._poller.join()

    def _submit_all(self) -> None:
        with self._client() as client:
            while not self._over.is_set():
                with self._lock:
                    order = next(self._wanted, None)
                if order is None:
                    return
                self._over.wait(max(0.0, self._began + order.due - time.monotonic()))
                self._submit(client, order)

    def _submit(self, client: httpx.Client, order: Order) -> None:
        api_key = self._destination.api_keys[order.account]
        headers = self._destination.headers(order) | {"api-key": api_key}
        body = {"prompt": order.prompt, "num_images": order.images, "aspect_ratio": "1:1"}
        answer = self._until_answered(client, f"/{MODEL}/v1/{MODEL}-request", headers, body, order.key)
        if answer is None:
            return
        if answer.status_code != HTTPStatus.ACCEPTED:
            self.notes.wrong.append(f"{order.key}: {answer.status_code} {answer.text[:200]}")
            return
        request_id = str(answer.json()["request_id"])
        self.notes.acknowledged[order.key] = request_id
        self._known.append((request_id, api_key))
        if order.cancel:
            cancelled = self._until_answered(
                client, f"/v2/requests/{request_id}/cancel", {"api-key": api_key}, None, request_id
            )
            if cancelled is not None:
                self.notes.cancels[request_id] = cancelled.status_code

    def _until_answered(
        self, client: httpx.Client, path: str, headers: dict[str, str], body: object, name: str
    ) -> httpx.Response | None:
        """Repeat a request until its answer is no outage; None if the run ends before."""
        pause = 0.2
        while not self._over.is_set():
            try:
                answer = client.post(path, headers=headers, json=body)
            except httpx.HTTPError:
                answer = None
            if answer is not None and answer.status_code == HTTPStatus.REQUEST_TIMEOUT:
                answer = None  # this process, on a busy machine, was too slow to send its request
            if answer is not None and answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
                self.notes.answers += 1
                return answer
            if answer is not None and answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
                self.notes.wrong.append(f"{name}: {answer.status_code} {answer.text[:200]}")
            elif answer is not None:
                self.notes.outages.append(Outage(time.time(), answer.text[:200]))
            self.notes.repeats += 1
            self._over.wait(pause)
            pause = min(2.0, pause * 1.5)
        return None

    def _poll(self) -> None:
        """Poll random jobs and note each that moves backwards."""
        seen = dict[str, int]()
        with self._client() as client:
            while not self._over.wait(0.05):
                known = self._known[-400:]
                if known:
                    self._look(client, *self._random.choice(known), seen)

    def _look(self, client: httpx.Client, request_id: str, api_key: str, seen: dict[str, int]) -> None:
        began = time.time()
        try:
            answer = client.get(f"/v2/requests/status/{request_id}", headers={"api-key": api_key})
        except httpx.TimeoutException:
            self.notes.polls.append(Poll(began, time.time() - began))
            return
        except httpx.HTTPError:
            return
        if answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            self.notes.outages.append(Outage(time.time(), answer.text[:200]))
            return
        if answer.status_code != HTTPStatus.OK:
            self.notes.wrong.append(f"poll of {request_id}: {answer.status_code} {answer.text[:200]}")
            return
        self.notes.polls.append(Poll(began, time.time() - began))
        rank = _RANK[answer.json()["status"]]
        if rank < seen.get(request_id, 0):
            self.notes.wrong.append(f"{request_id} moved backwards to {answer.json()['status']}")
        seen[request_id] = rank

    def _client(self) -> httpx.Client:
        limits = httpx.Limits(max_keepalive_connections=1)
        return httpx.Client(
            base_url=self._destination.url,
            timeout=15,
            trust_env=False,
            limits=limits,
        )
