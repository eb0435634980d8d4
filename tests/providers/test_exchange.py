"""The sender against servers that behave, and that do not."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator

import httpx
import pytest

from imagequeue.domain.upstream import Ambiguous, Misconfigured, Unavailable
from imagequeue.egress import deadline_transport
from tests.providers.scripted import answer, read_request, reset, scripted_server, until_closed
from tests.providers.sending import MIB, replying, send


@pytest.fixture(scope="module")
def strict_client() -> Generator[httpx.Client]:
    """The client that workers use."""
    with httpx.Client(transport=deadline_transport()) as made:
        yield made


class Sent:
    """Counts the calls of `on_sent`."""

    def __init__(self) -> None:
        self.moments: list[float] = []

    def __call__(self, moment: float) -> None:
        """Note the moment."""
        self.moments.append(moment)


def test_an_answer_is_read_to_its_end_and_sent_noted_once(client: httpx.Client) -> None:
    sent, before = Sent(), time.monotonic()
    with scripted_server(replying(answer(200, b'{"a": 0.0626835}', "X-Test: yes"))) as url:
        response = send(client, url, sent=sent)
    with response:
        assert (response.status, response.headers["x-test"]) == (200, "yes")
        assert str(response.json()["a"]) == "0.0626835"
    assert len(sent.moments) == 1
    assert before < sent.moments[0] < time.monotonic()


def test_sent_is_noted_before_the_answer_comes(client: httpx.Client) -> None:
    noted = threading.Event()

    def script(connection: socket.socket) -> None:
        read_request(connection)
        assert noted.wait(120)
        connection.sendall(answer(200, b"{}"))

    with scripted_server(script) as url, send(client, url, sent=lambda _: noted.set()) as response:
        assert response.status == 200


def test_before_send_runs_on_an_open_connection_before_the_first_byte(client: httpx.Client) -> None:
    accepted, asked = threading.Event(), threading.Event()
    first_bytes: list[bytes] = []

    def script(connection: socket.socket) -> None:
        accepted.set()
        assert asked.wait(120)
        connection.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            first_bytes.append(connection.recv(1))
        connection.settimeout(5)
        go.set()
        first_bytes.append(connection.recv(4))
        connection.sendall(answer(200, b"{}"))
        until_closed(connection)

    go = threading.Event()

    def before() -> None:
        assert accepted.wait(120)
        asked.set()
        assert go.wait(120)

    with scripted_server(script) as url, send(client, url, before=before) as response:
        assert response.status == 200
    assert first_bytes == [b"POST"]


def test_before_send_can_withdraw_the_call(client: httpx.Client) -> None:
    class Withdrawn(Exception):
        pass

    accepted, received = threading.Event(), list[bytes]()

    def script(connection: socket.socket) -> None:
        accepted.set()
        received.append(connection.recv(100))

    def before() -> None:
        assert accepted.wait(120)
        raise Withdrawn

    sent = Sent()
    with scripted_server(script) as url, pytest.raises(Withdrawn):
        send(client, url, before=before, sent=sent)
    assert (received, sent.moments) == ([b""], [])


def test_every_call_has_a_connection_of_its_own(client: httpx.Client) -> None:
    heads: list[bytes] = []
    calls: list[str] = []

    def script(connection: socket.socket) -> None:
        heads.append(read_request(connection).lower())
        connection.sendall(answer(200, b"{}"))
        until_closed(connection)  # waits for ever if the client keeps it

    with scripted_server(script) as url:
        for name in ("first", "second"):
            send(client, url, before=lambda name=name: calls.append(name)).close()
    assert calls == ["first", "second"]
    assert all(b"connection: close" in head for head in heads)
    assert len(heads) == 2


def test_no_connection_is_unavailable_and_nothing_was_sent(client: httpx.Client) -> None:
    sent = Sent()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(Unavailable) as raised:
            send(client, f"http://127.0.0.1:{closed.getsockname()[1]}", sent=sent)
    assert (raised.value.sent, sent.moments) == (False, [])


def test_a_failed_tls_handshake_sent_nothing() -> None:
    with (
        httpx.Client(verify=ssl.create_default_context()) as client,
        scripted_server(lambda connection: connection.sendall(b"this is not TLS\r\n" * 10)) as url,
        pytest.raises(Unavailable) as raised,
    ):
        send(client, url.replace("http://", "https://"))
    assert raised.value.sent is False


def hang(connection: socket.socket) -> None:
    """Read the request, say nothing."""
    read_request(connection)
    until_closed(connection)


def reset_after_request(connection: socket.socket) -> None:
    """Read the request, break the connection."""
    read_request(connection)
    reset(connection)


def close_after_request(connection: socket.socket) -> None:
    """Read the request, leave."""
    read_request(connection)


def break_off_in_the_body(connection: socket.socket) -> None:
    """Answer the first half."""
    read_request(connection)
    connection.sendall(answer(200, b"half", length=1000))


def drip(connection: socket.socket) -> None:
    """A byte now and then, for ever."""
    read_request(connection)
    connection.sendall(answer(200, b"", length=1000))
    for _ in range(1000):
        connection.sendall(b"x")
        time.sleep(0.05)  # the slowness itself is what is tested


def not_http(connection: socket.socket) -> None:
    """Something else than HTTP."""
    read_request(connection)
    connection.sendall(b"220 mail.example ESMTP\r\n")


@pytest.mark.parametrize(
    "script", [hang, reset_after_request, close_after_request, break_off_in_the_body, drip, not_http]
)
def test_sent_without_a_whole_answer_is_ambiguous(
    client: httpx.Client, script: Callable[[socket.socket], None]
) -> None:
    sent, started = Sent(), time.monotonic()
    with scripted_server(script) as url, pytest.raises(Ambiguous):
        send(client, url, sent=sent, seconds=2)
    assert len(sent.moments) == 1
    assert time.monotonic() - started < 30, "a drip takes 50 s"


def drip_the_head(connection: socket.socket) -> None:
    """A byte of the status line now and then: no read ever takes long."""
    read_request(connection)
    for byte in b"HTTP/1.1 200 OK\r\n" + b"X-Padding: 1\r\n" * 100:
        connection.sendall(bytes([byte]))
        time.sleep(0.05)  # the slowness itself is what is tested


def continue_for_ever(connection: socket.socket) -> None:
    """Informational answers without end."""
    read_request(connection)
    for _ in range(1000):
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.05)  # the slowness itself is what is tested


@pytest.mark.parametrize("script", [drip_the_head, continue_for_ever])
def test_the_deadline_is_total(strict_client: httpx.Client, script: Callable[[socket.socket], None]) -> None:
    started = time.monotonic()
    with scripted_server(script) as url, pytest.raises(Ambiguous):
        send(strict_client, url, seconds=2)
    assert time.monotonic() - started < 30, "the whole head takes 50 s"


def test_a_name_without_an_address_sent_nothing(strict_client: httpx.Client) -> None:
    with pytest.raises(Unavailable) as raised:
        send(strict_client, "http://no-such-host.invalid/")
    assert raised.value.sent is False


def test_an_answer_before_the_body_is_written_still_counts_as_sent(client: httpx.Client) -> None:
    def script(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(answer(429, b'{"error": {"code": "429"}}'))
        connection.shutdown(socket.SHUT_RD)

    sent = Sent()
    # Whether the answer overtakes the reset is the network's choice.
    with scripted_server(script) as url, contextlib.suppress(Ambiguous):
        send(client, url, sent=sent, content=bytes(32 * MIB)).close()
    assert len(sent.moments) == 1


def test_a_broken_note_does_not_lose_the_answer(client: httpx.Client) -> None:
    def broken(moment: float) -> None:
        raise RuntimeError("the database is away")

    with scripted_server(replying(answer(200, b"{}"))) as url, send(client, url, sent=broken) as response:
        assert response.content() == b"{}"


def test_redirects_are_not_followed(client: httpx.Client) -> None:
    asked: list[str] = []

    def elsewhere(connection: socket.socket) -> None:
        asked.append(read_request(connection).decode())

    with scripted_server(elsewhere) as target:
        script = replying(answer(307, b"", f"Location: {target}/"))
        with scripted_server(script) as url, send(client, url) as response:
            assert response.status == 307
    assert asked == []


def test_a_key_that_no_header_can_hold_is_misconfigured_and_not_shown(client: httpx.Client) -> None:
    with scripted_server(hang) as url, pytest.raises(Misconfigured) as raised:
        send(client, url, headers={"api-key": "secret\nvalue"})
    assert "secret" not in str(raised.value)
