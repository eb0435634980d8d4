"""Calls to upstreams through a proxy: there is a tunnel before any byte of the request is sent."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine

from imagequeue import wiring
from imagequeue.domain.errors import ConfigurationError
from imagequeue.egress.errors import ConnectFailed, EgressError, TimedOut
from imagequeue.egress.grammar import check_destination
from imagequeue.egress.tls import tls_context
from imagequeue.egress.transport import deadline_transport
from imagequeue.egress.tunnel import Proxy
from tests.builders import runtime
from tests.egress.certificates import Authority
from tests.egress.receiver import Conversation, Receiver, Script, answering

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
UPSTREAM = "upstream.example.com"
pytestmark = pytest.mark.timeout(120)


def _tunnel_to(port: int, asked: list[bytes]) -> Script:
    """A proxy's script: whatever the name, the tunnel leads to a port on loopback."""

    def script(conversation: Conversation) -> None:
        asked.append(conversation.read_request())
        with socket.create_connection(("127.0.0.1", port), 60) as upstream:
            conversation.send(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n")
            back = threading.Thread(target=_pump, args=(upstream, conversation.sock), daemon=True)
            back.start()
            _pump(conversation.sock, upstream)
            back.join(60)

    return script


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):  # either side may leave at any byte
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def _get(url: str, proxy: str, *, authority: Authority | None = None, seconds: float = 60) -> httpx.Response:
    tls = tls_context(authority.pem) if authority else None
    transport = deadline_transport(tls=tls, proxy=Proxy.parse(proxy))
    with httpx.Client(transport=transport, trust_env=False) as client:
        return client.get(url, extensions={"deadline": time.monotonic() + seconds})


def test_the_proxy_is_told_the_name_and_the_upstream_gets_the_request() -> None:
    asked, got = list[bytes](), list[bytes]()
    with (
        Receiver(answering(OK, got)) as upstream,
        Receiver(_tunnel_to(upstream.port, asked)) as proxy,
    ):
        answer = _get(f"http://{UPSTREAM}:8080/generate", f"http://127.0.0.1:{proxy.port}")
    assert answer.content == b"ok"
    assert asked[0].startswith(f"CONNECT {UPSTREAM}:8080 HTTP/1.1\r\nHost: {UPSTREAM}:8080\r\n".encode())
    assert b"authorization" not in asked[0].lower()
    assert got[0].startswith(b"GET /generate HTTP/1.1\r\n")


def test_inside_the_tunnel_the_certificate_is_the_upstream_s(authority: Authority, tmp_path: Path) -> None:
    with (
        Receiver(answering(OK), tls=authority.server(tmp_path, UPSTREAM)) as upstream,
        Receiver(_tunnel_to(upstream.port, [])) as proxy,
    ):
        where = f"http://127.0.0.1:{proxy.port}"
        assert _get(f"https://{UPSTREAM}/", where, authority=authority).content == b"ok"
        with pytest.raises(EgressError) as caught:
            _get("https://other.example.com/", where, authority=authority)
    assert caught.value.never_sent


def test_a_proxy_may_ask_for_a_password() -> None:
    asked = list[bytes]()
    with (
        Receiver(answering(OK)) as upstream,
        Receiver(_tunnel_to(upstream.port, asked)) as proxy,
    ):
        _get(f"http://{UPSTREAM}/", f"http://us%40er:p%3Aw@127.0.0.1:{proxy.port}")
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"us@er:p:w") + b"\r\n" in asked[0]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 200",
        b"",
        b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 4000,
    ],
    ids=["password", "bad gateway", "no http", "breaks off", "says nothing", "never ends"],
)
def test_without_a_tunnel_no_byte_of_the_request_was_sent(answer: bytes) -> None:
    """So the call is made again, and is no call in doubt."""
    with Receiver(answering(answer)) as proxy, pytest.raises(ConnectFailed) as caught:
        _get(f"http://{UPSTREAM}/", f"http://127.0.0.1:{proxy.port}")
    assert caught.value.never_sent


def test_a_proxy_that_hangs_is_given_up_at_the_deadline() -> None:
    with Receiver(Conversation.hang) as proxy, pytest.raises(TimedOut) as caught:
        _get(f"http://{UPSTREAM}/", f"http://127.0.0.1:{proxy.port}", seconds=0.5)
    assert caught.value.never_sent


@pytest.mark.parametrize(
    "url",
    [
        "proxy:3128",
        "https://user:hush@proxy",
        "socks5://user:hush@proxy",
        "http://user:hush@",
        "http://user:hush@p:x",
    ],
)
def test_an_url_of_no_http_proxy_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="IMAGEQUEUE_UPSTREAM_PROXY") as caught:
        Proxy.parse(url)
    assert "hush" not in caught.value.message


def test_upstreams_are_called_through_the_proxy_and_clients_addresses_are_not(
    engine: Engine, database_url: str
) -> None:
    """Otherwise the proxy, and not the egress guard, would choose the address."""
    refusing = Receiver(answering(b"HTTP/1.1 403 Forbidden\r\n\r\n"))
    with refusing as proxy, Receiver(answering(OK)) as receiver:
        own = runtime(engine, database_url, egress_allow=f"127.0.0.1:{receiver.port}")
        own.upstream_proxy = Proxy("127.0.0.1", proxy.port, None)
        with pytest.raises(ConnectFailed, match="403"):
            wiring.upstream_caller(own).client.get(
                f"http://{UPSTREAM}/", extensions={"deadline": time.monotonic() + 60}
            )
        assert proxy.connections == 1
        hook = check_destination(f"http://127.0.0.1:{receiver.port}/hook", own.policy)
        assert own.guarded_client().post(hook, b"{}", {}).status == 200
        assert (proxy.connections, receiver.connections) == (1, 1)
