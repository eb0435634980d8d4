"""Name look-ups that end in time.

`getaddrinfo` cannot be interrupted, and the client that chose the name may run its name server, too. So each
look-up runs in a thread of its own that is abandoned when its time is over. The number of threads is bounded:
while hanging look-ups take all places, the next one fails as a DNS error within its own limit.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from ipaddress import ip_address
from typing import TypeAlias

from imagequeue.egress.addresses import IPAddress
from imagequeue.egress.errors import NameNotResolved

Resolver: TypeAlias = Callable[[str, int], Sequence[str]]


def system_resolver(host: str, port: int) -> list[str]:
    """Ask the operating system for all addresses of `host`, A and AAAA.

    The name is passed as bytes: Python would otherwise run it through IDNA once more.

    Raises:
        OSError: there is no answer.
    """
    found = socket.getaddrinfo(host.encode("ascii"), port, socket.AF_UNSPEC, socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class BoundedResolver:
    """Calls a resolver with a limit on the time of each look-up, and lets at most `at_once` of them run."""

    def __init__(self, resolver: Resolver = system_resolver, at_once: int = 1024) -> None:
        self._resolver = resolver
        self._places = threading.BoundedSemaphore(at_once)

    def resolve(self, host: str, port: int, seconds: float) -> tuple[IPAddress, ...]:
        """Return all addresses of `host` within `seconds`, without repetitions, in the resolver's order.

        Raises:
            NameNotResolved: no answer in time, an empty one, or a failure.
        """
        end = time.monotonic() + seconds
        if not self._places.acquire(timeout=seconds):
            raise NameNotResolved("too many name look-ups hang")
        answer: Future[Sequence[str]] = Future()
        threading.Thread(target=self._look_up, args=(host, port, answer), name="resolve", daemon=True).start()
        try:
            texts = answer.result(timeout=max(0.0, end - time.monotonic()))
            addresses = tuple(dict.fromkeys(ip_address(text) for text in texts))
        except TimeoutError as error:
            raise NameNotResolved(f"no answer for {host} in {seconds:.3g} s") from error
        except (OSError, ValueError) as error:
            raise NameNotResolved(f"{host}: {error}") from error
        if not addresses:
            raise NameNotResolved(f"{host} has no address")
        return addresses

    def _look_up(self, host: str, port: int, answer: Future[Sequence[str]]) -> None:
        try:
            answer.set_result(self._resolver(host, port))
        except BaseException as error:  # noqa: BLE001 -- handed to the waiting thread, which raises it
            answer.set_exception(error)
        finally:
            self._places.release()
