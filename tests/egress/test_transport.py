"""The transport of calls: a connection and a deadline for each request."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from imagequeue.egress.errors import ConnectFailed, ConnectionBroken, EgressError, NameNotResolved, TimedOut
from imagequeue.egress.resolver import BoundedResolver
from imagequeue.egress.tls import tls_context
from imagequeue.egress.transport import DeadlineTransport, deadline_client, deadline_transport
from tests.egress.certificates import Authority
from tests.egress.receiver import Conversation, Receiver
from tests.egress.way import NAME, to_loopback

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CALLS = 600
"""At the same time: more than any bound that a pool of connections would have by itself."""

pytestmark = pytest.mark.timeout(120)


def keeps_alive(conversation: Conversation) -> None:
    """Answer at once, but for paths that ask for something else."""
    while request := conversation.read_request():
        if b"/hang" in request:
            conversation.hang()
        elif b"/drip" in request:
            conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            conversation.drip_for_ever(b"x")
        else:
            conversation.send(OK)


def _client(transport: DeadlineTransport) -> httpx.Client:
    return httpx.Client(transport=transport, trust_env=False)


def _within(seconds: float) -> dict[str, object]:
    return {"deadline": time.monotonic() + seconds}


def test_a_dripping_body_ends_at_the_deadline() -> None:
    with Receiver(keeps_alive) as receiver, _client(deadline_transport()) as client:
        url = f"http://127.0.0.1:{receiver.port}"
        with (
            client.stream("GET", f"{url}/drip", extensions=_within(2)) as response,
            pytest.raises(TimedOut),
        ):
            response.read()


def test_the_trace_tells_when_the_request_was_written() -> None:
    events: list[str] = []

    def note(event: str, info: object) -> None:
        del info
        events.append(event)

    with Receiver(keeps_alive) as receiver, _client(deadline_transport()) as client:
        client.post(
            f"http://127.0.0.1:{receiver.port}/",
            content=b"body",
            extensions={**_within(120), "trace": note},
        )
    assert events.index("http11.send_request_body.complete") < events.index(
        "http11.receive_response_headers.started"
    )


def test_as_many_requests_as_are_sent_have_a_connection_at_the_same_time() -> None:
    all_asked = threading.Barrier(CALLS)

    def answers_all_at_once(conversation: Conversation) -> None:
        conversation.read_request()
        all_asked.wait(100)
        conversation.send(OK)

    with (
        Receiver(answers_all_at_once) as receiver,
        _client(deadline_transport()) as client,
        ThreadPoolExecutor(CALLS) as threads,
    ):
        url = f"http://127.0.0.1:{receiver.port}/"
        answers = [threads.submit(client.get, url, extensions=_within(110)) for _ in range(CALLS)]
        assert {answer.result().content for answer in answers} == {b"ok"}


def test_a_cookie_of_an_upstream_is_not_sent_with_the_next_call() -> None:
    asked = list[bytes]()

    def sets_a_cookie(conversation: Conversation) -> None:
        asked.append(conversation.read_request())
        conversation.send(OK.replace(b"OK\r\n", b"OK\r\nSet-Cookie: session=of-one-account\r\n"))

    with Receiver(sets_a_cookie) as receiver, deadline_client() as client:
        for _ in range(2):
            client.post(f"http://127.0.0.1:{receiver.port}/", extensions=_within(120))
        assert [b"cookie" in request.lower() for request in asked] == [False, False]


def test_no_connection_is_used_twice() -> None:
    with (
        Receiver(keeps_alive) as receiver,
        _client(deadline_transport()) as client,
        ThreadPoolExecutor(24) as threads,
    ):
        url = f"http://127.0.0.1:{receiver.port}/"
        answers = [threads.submit(client.get, url, extensions=_within(120)) for _ in range(300)]
        assert [answer.result().content for answer in answers] == [b"ok"] * 300
        assert receiver.connections == 300


def test_a_refused_connection_and_an_unknown_name_never_sent() -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise OSError(f"no {host}:{port}")

    with Receiver(keeps_alive) as receiver:
        port = receiver.port
    with _client(deadline_transport()) as client, pytest.raises(ConnectFailed) as refused:
        client.get(f"http://127.0.0.1:{port}/", extensions=_within(120))
    assert refused.value.never_sent
    transport = deadline_transport(resolver=BoundedResolver(unknown))
    with _client(transport) as client, pytest.raises(NameNotResolved) as nameless:
        client.get("http://upstream.example.com/", extensions=_within(120))
    assert nameless.value.never_sent


def test_errors_are_also_those_of_httpx_and_know_their_request() -> None:
    def closes(conversation: Conversation) -> None:
        conversation.read_request()

    with Receiver(closes) as receiver, _client(deadline_transport()) as client:
        with pytest.raises(httpx.RemoteProtocolError) as failure:
            client.get(f"http://127.0.0.1:{receiver.port}/here", extensions=_within(120))
        assert isinstance(failure.value, ConnectionBroken)
        assert failure.value.request.url.path == "/here"
    assert issubclass(TimedOut, httpx.TimeoutException)
    assert issubclass(EgressError, httpx.TransportError)


def test_a_request_that_cannot_be_written_ends_at_the_deadline() -> None:
    def refuses(conversation: Conversation) -> None:
        conversation.sock.recv(100)
        conversation.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        conversation.hang()

    with Receiver(refuses) as receiver, _client(deadline_transport()) as client, pytest.raises(TimedOut):
        client.post(f"http://127.0.0.1:{receiver.port}/", content=b"x" * 50_000_000, extensions=_within(0.4))


def test_https_is_verified(authority: Authority, tmp_path: Path) -> None:
    resolver = BoundedResolver(to_loopback)
    with Receiver(keeps_alive, tls=authority.server(tmp_path, NAME)) as receiver:
        url = f"https://{NAME}:{receiver.port}/"
        trusting = deadline_transport(tls=tls_context(authority.pem), resolver=resolver)
        with _client(trusting) as client:
            assert client.get(url, extensions=_within(120)).content == b"ok"
            assert client.get(url, extensions=_within(120)).content == b"ok"
        assert receiver.connections == 2
        with _client(deadline_transport(resolver=resolver)) as client, pytest.raises(httpx.ConnectError):
            client.get(url, extensions=_within(120))


@pytest.mark.parametrize("extensions", [{}, {"deadline": "soon"}, {"deadline": None}])
def test_a_request_without_a_deadline_is_a_fault_of_the_caller(extensions: dict[str, object]) -> None:
    with _client(deadline_transport()) as client, pytest.raises(TypeError, match="deadline"):
        client.get("http://127.0.0.1:1/", extensions=extensions)


def test_a_deadline_that_has_passed_ends_before_anything_is_done() -> None:
    with (
        Receiver(keeps_alive) as receiver,
        _client(deadline_transport()) as client,
        pytest.raises(TimedOut) as failure,
    ):
        client.get(f"http://127.0.0.1:{receiver.port}/", extensions=_within(-1))
    assert failure.value.never_sent
    assert receiver.connections == 0
