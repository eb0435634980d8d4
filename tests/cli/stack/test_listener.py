"""The address at which a stack is reached."""

import socket

import pytest

from cli.stack.listener import listen, url_of


@pytest.mark.parametrize(
    ("host", "expected"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]")]
)
def test_the_url_reaches_the_listener(host: str, expected: str) -> None:
    with listen(host, 0) as listener:
        number = listener.getsockname()[1]
        assert url_of(host, listener) == f"http://{expected}:{number}"
        socket.create_connection((expected.strip("[]"), number), 5).close()
