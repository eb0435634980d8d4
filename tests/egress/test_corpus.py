"""Every address of the sample's connect rows is refused at the connection, whichever way leads there."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import pytest

from imagequeue.egress.addresses import IPAddress
from imagequeue.egress.client import GuardedClient
from imagequeue.egress.errors import ConnectFailed, DestinationBlocked
from imagequeue.egress.grammar import Destination, Purpose, check_destination
from imagequeue.egress.network import dial
from imagequeue.egress.policy import EgressPolicy
from imagequeue.egress.redirects import download_image
from imagequeue.egress.resolver import BoundedResolver
from tests.egress.corpus import connect_addresses
from tests.egress.receiver import Receiver, answering
from tests.egress.way import NAME, PATIENT

ELSEWHERE = "elsewhere.example.com"
PUBLIC = "93.184.216.34"
ADDRESSES = sorted(connect_addresses())
pytestmark = pytest.mark.timeout(120)


class Names:
    """Names and their addresses, one answer after the other; the dialler notes whom it is asked for."""

    def __init__(self, **answers: list[str]) -> None:
        self.answers = {name.replace("_", "."): list(given) for name, given in answers.items()}
        self.dialled = list[str]()

    def resolve(self, host: str, port: int) -> Sequence[str]:
        del port
        given = self.answers[host]
        return [given.pop(0) if len(given) > 1 else given[0]]

    def dial(self, address: IPAddress, port: int, seconds: float) -> socket.socket:
        self.dialled.append(str(address))
        if not address.is_loopback:
            raise ConnectionRefusedError("no network in this test")
        return dial(address, port, seconds)

    def client(self, policy: EgressPolicy) -> GuardedClient:
        return GuardedClient(
            policy, user_agent="test", resolver=BoundedResolver(self.resolve), dial=self.dial
        )


def _send(client: GuardedClient, destination: Destination, purpose: Purpose) -> None:
    if purpose is Purpose.WEBHOOK:
        client.post(destination, b"{}", {}, limits=PATIENT)
    else:
        client.download(destination, max_bytes=1000, limits=PATIENT)


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("address", ADDRESSES)
def test_by_name(address: str, purpose: Purpose) -> None:
    policy, names = EgressPolicy(), Names(receiver_example_com=[address])
    destination = check_destination(f"https://{NAME}/", policy, purpose)
    client = names.client(policy)
    with pytest.raises(DestinationBlocked):
        _send(client, destination, purpose)
    assert names.dialled == []


@pytest.mark.parametrize("address", ADDRESSES)
def test_by_redirect(address: str) -> None:
    moved = f"HTTP/1.1 302 Moved\r\nLocation: http://{ELSEWHERE}/\r\nContent-Length: 0\r\n\r\n"
    with Receiver(answering(moved.encode())) as receiver:
        policy = EgressPolicy.parse(allow=f"{NAME}:{receiver.port}")
        names = Names(receiver_example_com=["127.0.0.1"], elsewhere_example_com=[address])
        with pytest.raises(DestinationBlocked):
            download_image(
                names.client(policy),
                f"http://{NAME}:{receiver.port}/",
                max_bytes=1000,
                limits=PATIENT,
            )
        assert names.dialled == ["127.0.0.1"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_by_a_name_that_changes_between_two_look_ups(address: str) -> None:
    policy, names = EgressPolicy(), Names(receiver_example_com=[PUBLIC, address])
    destination, client = check_destination(f"https://{NAME}/", policy), names.client(policy)
    with pytest.raises(ConnectFailed):
        client.post(destination, b"{}", {}, limits=PATIENT)
    with pytest.raises(DestinationBlocked):
        client.post(destination, b"{}", {}, limits=PATIENT)
    assert names.dialled == [PUBLIC]
