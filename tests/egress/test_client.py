"""What a guarded call makes of a receiver that misbehaves. Tests assert outcomes, not times."""

from __future__ import annotations

import gzip
import socket
import threading

import pytest

from imagequeue.egress.addresses import IPAddress
from imagequeue.egress.client import EXCERPT_BYTES, RAW_BYTES_READ
from imagequeue.egress.deadline import Limits
from imagequeue.egress.errors import ConnectFailed, ConnectionBroken, EgressError, TimedOut
from imagequeue.egress.network import dial
from tests.egress.certificates import Authority
from tests.egress.receiver import Conversation, Receiver, Script, answering
from tests.egress.scripts import (
    HEAD,
    OK,
    continues_for_ever,
    drips_body,
    drips_head,
    drips_single_bytes,
    floods_with_continues,
    never_answers,
    never_ends_body,
    never_reads,
    reads_and_closes,
    reads_and_resets,
    resets_at_once,
)
from tests.egress.way import NAME, PATIENT, QUICK, Way

BOUND = pytest.mark.timeout(120)


class Watch:
    """Dials as usual, and sees what the client reads from its socket."""

    def __init__(self) -> None:
        self.something_came = threading.Event()
        self.bytes_read = 0

    def dial(self, address: IPAddress, port: int, seconds: float) -> socket.socket:
        """Open a connection whose reads are counted."""
        return _WatchedSocket(self, dial(address, port, seconds))

    def saw(self, count: int) -> None:
        """Note a read."""
        self.bytes_read += count
        self.something_came.set()


class _WatchedSocket(socket.socket):
    def __init__(self, watch: Watch, sock: socket.socket) -> None:
        super().__init__(sock.family, sock.type, sock.proto, fileno=sock.detach())
        self._watch = watch

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        data = super().recv(bufsize, flags)
        self._watch.saw(len(data))
        return data


@BOUND
@pytest.mark.parametrize(
    ("script", "error", "limits"),
    [
        (never_answers, TimedOut, QUICK),
        (drips_head, TimedOut, QUICK),
        (drips_single_bytes, TimedOut, QUICK),
        (continues_for_ever, TimedOut, QUICK),
        (floods_with_continues, ConnectionBroken, PATIENT),
        (reads_and_resets, ConnectionBroken, PATIENT),
        (reads_and_closes, ConnectionBroken, PATIENT),
        (answering(b"SSH-2.0-OpenSSH_9.6\r\n"), ConnectionBroken, PATIENT),
        (answering(b"HTTP/1.1 abc OK\r\n\r\n"), ConnectionBroken, PATIENT),
        (answering(b"HTTP/1.1 200\r\nbad header\r\n\r\n"), ConnectionBroken, PATIENT),
        (answering(HEAD + b"X-Long: " + b"x" * 100_000 + b"\r\n\r\n"), ConnectionBroken, PATIENT),
        (answering(HEAD + b"X: y\r\n" * 20_000 + b"\r\n"), ConnectionBroken, PATIENT),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_no_status_is_an_error_and_the_request_may_have_been_read(
    authority: Authority, script: Script, error: type[EgressError], limits: Limits
) -> None:
    with Receiver(script) as receiver:
        way = Way(receiver.port, authority)
        with pytest.raises(error) as failure:
            way.client.post(way.destination, b"{}", {}, limits=limits)
    assert failure.value.sent
    assert not failure.value.never_sent
    assert failure.value.code == ("timeout" if error is TimedOut else "connect_failed")


@BOUND
def test_a_receiver_that_never_reads_a_large_body_is_a_timeout(authority: Authority) -> None:
    with Receiver(never_reads) as receiver:
        way = Way(receiver.port, authority)
        with pytest.raises(TimedOut) as failure:
            way.client.post(way.destination, b"x" * 50_000_000, {}, limits=QUICK)
    assert failure.value.sent


@BOUND
def test_a_refused_connection_never_sent(authority: Authority) -> None:
    with Receiver(never_reads) as receiver:
        port = receiver.port
    way = Way(port, authority)
    with pytest.raises(ConnectFailed) as failure:
        way.client.post(way.destination, b"{}", {}, limits=PATIENT)
    assert failure.value.never_sent
    assert failure.value.code == "connect_failed"


@BOUND
def test_a_reset_right_after_accept_is_a_broken_connection(authority: Authority) -> None:
    with Receiver(resets_at_once) as receiver:
        way = Way(receiver.port, authority)
        with pytest.raises(EgressError) as failure:
            way.client.post(way.destination, b"{}", {}, limits=PATIENT)
    assert failure.value.code == "connect_failed"


@BOUND
@pytest.mark.parametrize(
    ("script", "body", "limits"),
    [
        (drips_body, None, Limits(total_seconds=4.0)),
        (answering(HEAD + b"Content-Length: 100\r\n\r\nsome"), b"some", PATIENT),
        (answering(HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nsome\r\nzz"), b"some", PATIENT),
    ],
)
def test_a_status_stands_although_the_body_breaks_off(
    authority: Authority, script: Script, body: bytes | None, limits: Limits
) -> None:
    with Receiver(script) as receiver:
        way = Way(receiver.port, authority)
        receipt = way.client.post(way.destination, b"{}", {}, limits=limits)
    assert receipt.status == 200
    assert receipt.body.startswith(b"x") if body is None else receipt.body == body


@BOUND
def test_a_status_stands_although_the_connection_is_reset_after_it(authority: Authority) -> None:
    watch = Watch()

    def answers_and_resets(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(HEAD + b"Content-Length: 100\r\n\r\nsome")
        watch.something_came.wait(120)
        conversation.reset()

    with Receiver(answers_and_resets) as receiver:
        way = Way(receiver.port, authority, dial=watch.dial)
        receipt = way.client.post(way.destination, b"{}", {}, limits=PATIENT)
    assert (receipt.status, receipt.body) == (200, b"some")


@BOUND
def test_what_comes_after_the_announced_length_is_ignored(authority: Authority) -> None:
    with Receiver(answering(OK + b"HTTP/1.1 500 No\r\n\r\n" * 10)) as receiver:
        way = Way(receiver.port, authority)
        receipt = way.client.post(way.destination, b"{}", {}, limits=PATIENT)
    assert (receipt.status, receipt.body) == (200, b"ok")


@BOUND
@pytest.mark.parametrize(
    "script",
    [
        never_ends_body,
        answering(HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"\0" * 2**26)),
    ],
    ids=["endless", "gzip bomb"],
)
def test_little_of_a_large_body_is_read_and_less_is_kept_raw(authority: Authority, script: Script) -> None:
    watch = Watch()
    with Receiver(script) as receiver:
        way = Way(receiver.port, authority, dial=watch.dial)
        receipt = way.client.post(way.destination, b"{}", {}, limits=PATIENT)
    assert receipt.status == 200
    assert len(receipt.body) == EXCERPT_BYTES
    assert EXCERPT_BYTES < watch.bytes_read <= RAW_BYTES_READ
    assert receipt.body[:1] == b"x" or receipt.body[:2] == b"\x1f\x8b"


@BOUND
@pytest.mark.parametrize("status", [200, 204, 301, 307, 308, 400, 401, 404, 410, 429, 500, 503, 599])
def test_every_status_is_returned_and_no_redirect_is_followed(authority: Authority, status: int) -> None:
    with Receiver(answering(OK)) as private:
        answer = (
            f"HTTP/1.1 {status} X\r\nLocation: http://127.0.0.1:{private.port}/\r\nRefresh: 0\r\n"
            f'Alt-Svc: h2=":{private.port}"\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n'
        )
        with Receiver(answering(answer.encode())) as receiver:
            way = Way(receiver.port, authority)
            receipt = way.client.post(way.destination, b"{}", {}, limits=PATIENT)
            assert receiver.connections == 1
        assert private.connections == 0
    assert (receipt.status, receipt.body) == (status, b"")
    assert receipt.header("retry-after") == "7"


@BOUND
def test_the_request_is_what_it_should_be(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    record: list[bytes] = []
    with Receiver(answering(OK, record)) as receiver:
        way = Way(receiver.port, authority)
        receipt = way.client.post(
            way.destination, b'{"a":1}', {"Content-Type": "application/json", "webhook-id": "m"}
        )
    assert receipt.body == b"ok"
    head, _, body = record[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /hook?x=%20 HTTP/1.1"
    assert sorted(lines[1:]) == sorted(
        [
            f"Host: {NAME}:{receiver.port}",
            "User-Agent: imagequeue/test",
            "Accept-Encoding: identity",
            "Connection: close",
            "Content-Length: 7",
            "Content-Type: application/json",
            "webhook-id: m",
        ]
    )
    assert body == b'{"a":1}'


@pytest.mark.parametrize(
    "name", ["Host", "content-length", "Transfer-Encoding", "Connection", "accept-encoding"]
)
def test_headers_of_the_client_itself_cannot_be_given(authority: Authority, name: str) -> None:
    way = Way(443, authority)
    with pytest.raises(ValueError, match=name.lower()):
        way.client.post(way.destination, b"{}", {name: "x"})
