"""Redirects of images: followed a few times, and every hop is checked as the first URL was."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from imagequeue.domain.errors import DestinationRefused
from imagequeue.egress.answers import Download
from imagequeue.egress.errors import BodyTooLarge, DestinationBlocked, TimedOut
from imagequeue.egress.redirects import MOST_HOPS, download_image
from tests.egress.certificates import Authority
from tests.egress.receiver import Conversation, Receiver, Script
from tests.egress.way import NAME, PATIENT, QUICK, Way

pytestmark = pytest.mark.timeout(120)
IMAGE = b"\x89PNG and so on"


def _pages(locations: Mapping[str, str], status: int = 302) -> Script:
    """A script that redirects from the paths that are given, and serves the image at every other."""

    def script(conversation: Conversation) -> None:
        path = conversation.read_request().split(b" ")[1].decode()
        if path in locations:
            location = locations[path].encode("utf-8")
            head = b"HTTP/1.1 %d Moved\r\nSet-Cookie: a=b\r\nLocation: %s\r\n" % (status, location)
            conversation.send(head + b"Content-Length: 4\r\n\r\nmove")
        else:
            conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(IMAGE), IMAGE))

    return script


def _download(way: Way, port: int, *, scheme: str = "http", most: int = 1000) -> Download:
    url = f"{scheme}://{NAME}:{port}/image"
    return download_image(way.client, url, max_bytes=most, limits=PATIENT)


def _paths(receiver: Receiver, seen: list[bytes]) -> list[str]:
    del receiver
    return [request.split(b" ")[1].decode() for request in seen]


def _recording(script: Script, seen: list[bytes]) -> Script:
    def recorded(conversation: Conversation) -> None:
        original = conversation.read_request

        def read() -> bytes:
            seen.append(original())
            return seen[-1]

        conversation.read_request = read  # type: ignore[method-assign]
        script(conversation)

    return recorded


LOCATIONS = {
    "a path": ("/there", "/there"),
    "a name beside it": ("there.png", "/there.png"),
    "a query": ("?v=2", "/image?v=2"),
    "another form of itself": ("http://{name}:{port}/there", "/there"),
    "without its scheme": ("//{name}:{port}/there", "/there"),
    "in capitals": ("HTTP://{name}:{port}/There", "/There"),
    "a part of a page": ("/there#part", "/there"),
    "a space": ("/a file.png", "/a%20file.png"),
    "another script": ("/bild-ü.png", "/bild-%C3%BC.png"),
    "escapes": ("/a%20b?sig=%2B%3D", "/a%20b?sig=%2B%3D"),
}


@pytest.mark.parametrize(("location", "path"), LOCATIONS.values(), ids=LOCATIONS.keys())
def test_a_redirect_is_followed(authority: Authority, location: str, path: str) -> None:
    seen, locations = list[bytes](), dict[str, str]()
    with Receiver(_recording(_pages(locations), seen)) as receiver:
        locations["/image"] = location.format(name=NAME, port=receiver.port)
        with _download(Way(receiver.port, authority), receiver.port) as download:
            assert (download.status, download.file.read()) == (200, IMAGE)
    assert _paths(receiver, seen) == ["/image", path]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_every_kind_of_redirect_is_followed_without_key_or_cookie(authority: Authority, status: int) -> None:
    seen = list[bytes]()
    with (
        Receiver(_recording(_pages({"/image": "/there"}, status), seen)) as receiver,
        _download(Way(receiver.port, authority), receiver.port) as download,
    ):
        assert download.file.read() == IMAGE
    assert len(seen) == 2
    assert not any(name in request.lower() for request in seen for name in (b"cookie", b"authorization"))


def test_three_hops_are_followed_and_no_fourth(authority: Authority) -> None:
    hops = {"/image": "/1", "/1": "/2", "/2": "/3"}
    with Receiver(_pages(hops)) as receiver, _download(Way(receiver.port, authority), receiver.port) as got:
        assert got.file.read() == IMAGE
    with Receiver(_pages(hops | {"/3": "/4"})) as receiver:
        with pytest.raises(DestinationRefused, match="more than 3 times"):
            _download(Way(receiver.port, authority), receiver.port)
        assert receiver.connections == MOST_HOPS + 1


@pytest.mark.parametrize(
    "location",
    [
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "http://localhost/",
        "http://metadata.google.internal/",
        "https://images.example.com:8443/",
        "https://user:secret@images.example.com/",
        "http://127.0.0.1\\@images.example.com/",
        "http://2130706433/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "data:image/png;base64,AAAA",
        "gopher://images.example.com/",
        "http://[::1",
        "https:///there",
        "http://images.example.com/" + "x" * 3000,
    ],
)
def test_a_redirect_to_where_no_url_may_lead_is_refused_unasked(authority: Authority, location: str) -> None:
    with Receiver(_pages({"/image": location})) as receiver:
        with pytest.raises(DestinationRefused, match="redirects to"):
            _download(Way(receiver.port, authority), receiver.port)
        assert receiver.connections == 1


def test_a_public_name_with_a_private_address_is_blocked_at_the_connection(authority: Authority) -> None:
    with Receiver(_pages({"/image": "http://images.example.com/"})) as receiver:
        with pytest.raises(DestinationBlocked):
            _download(Way(receiver.port, authority), receiver.port)
        assert receiver.connections == 1


def test_https_is_not_left_for_http(authority: Authority, tmp_path: Path) -> None:
    script = _pages({"/image": "http://images.example.com/"})
    with Receiver(script, tls=authority.server(tmp_path, NAME)) as receiver:
        way = Way(receiver.port, authority, scheme="https")
        with pytest.raises(DestinationRefused, match="from https to http"):
            _download(way, receiver.port, scheme="https")


@pytest.mark.parametrize("head", [b"302 Found", b"300 Multiple Choices", b"304 Not Modified"])
def test_a_redirect_that_names_nothing_is_an_answer_like_another(authority: Authority, head: bytes) -> None:
    def script(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % head)

    with (
        Receiver(script) as receiver,
        _download(Way(receiver.port, authority), receiver.port) as download,
    ):
        assert download.status == int(head[:3])


def test_all_hops_share_one_limit_of_bytes_and_of_time(authority: Authority) -> None:
    with Receiver(_pages({"/image": "/there"})) as receiver, pytest.raises(BodyTooLarge):
        _download(Way(receiver.port, authority), receiver.port, most=len(IMAGE) - 1)

    def slow(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.drip(b"HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\n", 0.02)

    with Receiver(slow) as receiver:
        way, url = Way(receiver.port, authority), f"http://{NAME}:{receiver.port}/image"
        with pytest.raises(TimedOut):
            download_image(way.client, url, max_bytes=1000, limits=QUICK)
