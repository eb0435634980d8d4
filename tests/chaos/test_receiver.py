"""The receiver of a run answers webhooks in each of its ways, and records which it took."""

from __future__ import annotations

from collections import Counter
from urllib.parse import urlsplit

import httpx
import pytest

from chaos.receiver import FLAP_SECONDS, SHARES, TROUBLE, Receiver, Receivers


def post(receiver: Receiver, number: int) -> httpx.Response | None:
    return send(f"{receiver.url}/hook/{number}")


def send(url: str) -> httpx.Response | None:
    """One webhook from a sender that is not patient; None: no answer came."""
    number = url.rpartition("/")[2]
    try:
        return httpx.post(
            url, content=b"{}", headers={"webhook-id": f"msg_{number}"}, timeout=0.3, trust_env=False
        )
    except httpx.TimeoutException:
        return None


def test_webhooks_are_taken_refused_or_left_without_an_answer() -> None:
    with Receiver(seed=4) as receiver:
        answers = [post(receiver, number) for number in range(60)]
    seen = Counter(answer and answer.status_code for answer in answers)
    assert set(seen) == {200, 500, None}
    taken = [receipt.taken for receipt in receiver.receipts]
    assert sum(taken) >= seen[200]
    assert not any(
        receipt.taken
        for receipt, answer in zip(receiver.receipts, answers, strict=True)
        if answer and answer.status_code == 500
    )


def test_a_receiver_that_hangs_answers_and_takes_nothing() -> None:
    with Receiver(seed=4) as receiver:
        receiver.hanging.set()
        assert [post(receiver, number) for number in range(3)] == [None] * 3
        receiver.hanging.clear()
        assert any(post(receiver, number) for number in range(3, 9))
    assert [receipt.taken for receipt in receiver.receipts[:3]] == [False] * 3


def test_each_way_to_answer_is_drawn() -> None:
    receiver = Receiver(seed=1)
    drawn = Counter(receiver.take("/hook", "msg", "{}") for _ in range(1000))
    receiver.close()
    assert {answer: count / 1000 for answer, count in drawn.items()} == pytest.approx(dict(SHARES), abs=0.05)


@pytest.mark.parametrize(
    ("trouble", "seconds", "answer"),
    [
        ("black hole", 3, "hang"),
        ("drip", 3, "dripped head"),
        ("flapping", 0, "failure"),
        ("flapping", FLAP_SECONDS, "taken"),
        ("flapping", 2 * FLAP_SECONDS, "failure"),
    ],
)
def test_a_receiver_in_trouble_has_its_own_way(trouble: str, seconds: float, answer: str) -> None:
    assert TROUBLE[trouble](seconds) == answer


def test_receivers_in_trouble_get_a_share_of_the_webhooks_and_recover() -> None:
    with Receivers(seed=4) as receivers:
        ports = Counter(urlsplit(receivers.url(number)).port for number in range(150))
        assert ports.pop(receivers.main.port) == 120
        assert set(ports.values()) == {10}
        assert set(map(str, ports)) < set(receivers.addresses.replace("127.0.0.1:", "").split(","))
        assert send(receivers.url(0)) is None
        receivers.recover()
        assert any(send(receivers.url(0)) for _ in range(5))
        assert {receipt.path for receipt in receivers.receipts} == {"/hook/0"}
