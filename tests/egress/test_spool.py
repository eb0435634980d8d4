"""Downloads: whole, in memory or on disk, and of no more than was allowed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from imagequeue.egress.errors import BodyTooLarge, ConnectionBroken, EgressError, TimedOut
from imagequeue.egress.spool import SPOOL_THRESHOLD
from tests.egress.certificates import Authority
from tests.egress.receiver import Conversation, Receiver, Script, answering
from tests.egress.scripts import HEAD, drips_body, never_answers, never_ends_body
from tests.egress.way import PATIENT, QUICK, Way

BOUND = pytest.mark.timeout(120)


@BOUND
@pytest.mark.parametrize("size", [0, 1, SPOOL_THRESHOLD, SPOOL_THRESHOLD + 1, 3_000_000])
@pytest.mark.parametrize("framed", [True, False], ids=["length", "close"])
def test_a_download_is_whole_and_large_ones_go_to_disk(authority: Authority, size: int, framed: bool) -> None:  # noqa: FBT001
    content = bytes(range(256)) * (size // 256 + 1)
    content = content[:size]
    length = f"Content-Length: {size}\r\n".encode() if framed else b""
    with Receiver(answering(HEAD + length + b"\r\n" + content)) as receiver:
        way = Way(receiver.port, authority)
        with way.client.download(way.destination, max_bytes=3_000_000, limits=PATIENT) as download:
            assert download.status == 200
            assert download.file.read() == content
            assert download.file.on_disk == (size > SPOOL_THRESHOLD)


def large_by_announcement(conversation: Conversation) -> None:
    conversation.read_request()
    conversation.send(HEAD + b"Content-Length: 100000000\r\n\r\n")
    conversation.hang()


@BOUND
@pytest.mark.parametrize("script", [large_by_announcement, never_ends_body])
def test_a_download_that_is_too_large_is_stopped(
    authority: Authority, script: Callable[[Conversation], None]
) -> None:
    with Receiver(script) as receiver:
        way = Way(receiver.port, authority)
        with pytest.raises(BodyTooLarge) as failure:
            way.client.download(way.destination, max_bytes=2_000_000, limits=PATIENT)
    assert failure.value.code == "too_large"


@BOUND
@pytest.mark.parametrize(
    ("script", "error"),
    [
        (drips_body, TimedOut),
        (answering(HEAD + b"Content-Length: 100\r\n\r\nsome"), ConnectionBroken),
        (never_answers, TimedOut),
    ],
)
def test_a_download_that_breaks_off_is_an_error(
    authority: Authority, script: Script, error: type[EgressError]
) -> None:
    with Receiver(script) as receiver:
        way = Way(receiver.port, authority)
        with pytest.raises(error):
            way.client.download(way.destination, max_bytes=2_000_000, limits=QUICK)


@BOUND
def test_a_download_of_another_status_is_not_read(authority: Authority) -> None:
    with Receiver(
        answering(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\nelsewhere")
    ) as receiver:
        way = Way(receiver.port, authority)
        with way.client.download(way.destination, max_bytes=100, limits=PATIENT) as download:
            assert (download.status, download.file.read()) == (302, b"")
