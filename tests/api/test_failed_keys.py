"""Wrong keys: answered slower and slower, while right ones from the same address never wait."""

from __future__ import annotations

import httpx
import pytest

from api.failed_keys import AT_ONCE, LONGEST_SECONDS, FailedKeys
from tests.api.service import Client, Service, title_and_message


def test_an_address_may_be_wrong_some_times_then_its_answers_are_a_second_apart() -> None:
    seconds = 0.0
    failed = FailedKeys(lambda: seconds)
    assert [failed.wait_seconds("192.0.2.1") for _ in range(AT_ONCE)] == [0.0] * AT_ONCE
    assert [failed.wait_seconds("192.0.2.1") for _ in range(3)] == [1.0, 2.0, 3.0]
    assert failed.wait_seconds("192.0.2.2") == 0.0, "another address has its own"
    seconds += 63 + AT_ONCE
    assert failed.wait_seconds("192.0.2.1") == 0.0


def test_what_would_wait_too_long_does_not_count_so_the_wait_ends() -> None:
    seconds = 0.0
    failed = FailedKeys(lambda: seconds)
    waits = [failed.wait_seconds("192.0.2.1") for _ in range(AT_ONCE + 100)]
    assert waits[-1] == LONGEST_SECONDS + 1
    seconds += 1.0
    assert failed.wait_seconds("192.0.2.1") == LONGEST_SECONDS


def test_a_customer_with_a_whole_ipv6_network_is_one_address() -> None:
    failed = FailedKeys(lambda: 0.0)
    waits = [failed.wait_seconds(f"2001:db8::{number:x}") for number in range(AT_ONCE + 1)]
    assert waits[-1] == 1.0


def test_the_addresses_in_memory_have_a_bound() -> None:
    failed = FailedKeys(lambda: 0.0)
    for number in range(25_000):
        failed.wait_seconds(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(failed._spent_until) <= 10_000  # pyright: ignore[reportPrivateUsage]  # memory is what this is about


@pytest.mark.parametrize("key", ["", "nonsense", "iq_0123456789abcdef_" + "a" * 43])
def test_too_many_wrong_keys_are_429_and_the_right_key_is_served_at_once(
    service: Service, client: Client, key: str
) -> None:
    service.app.state.failed_keys = failed = FailedKeys(lambda: 0.0)
    for _ in range(AT_ONCE + int(LONGEST_SECONDS)):
        failed.wait_seconds("127.0.0.1")
    answer = httpx.get(f"{service.url}/v2/wallet", headers={"api-key": key})
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) == LONGEST_SECONDS + 1
    assert title_and_message(answer)[1].startswith("Too many requests without a valid API key")
    assert client.http.get("/v2/wallet").status_code == 200
