"""The address at which a stack is reached."""

import socket

import pytest

from cli.api import _listener as own_listener  # pyright: ignore[reportPrivateUsage]
from cli.stack.listener import listen, url_of


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]"), ("::", "[::1]")],
)
def test_the_url_reaches_the_listener(host: str, expected: str) -> None:
    with listen(host, 0) as listener:
        number = listener.getsockname()[1]
        assert url_of(host, listener) == f"http://{expected}:{number}"
        socket.create_connection((expected.strip("[]"), number), 5).close()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_every_address_means_those_of_both_families(address: str) -> None:
    """The API's own command and the supervisor's listener."""
    for opened in (listen("::", 0), own_listener("::", 0, None)):
        with opened as listener:
            number = listener.getsockname()[1]
            with socket.create_connection((address, number), 5) as connection:
                assert connection.getpeername()[:2] == (address, number)
