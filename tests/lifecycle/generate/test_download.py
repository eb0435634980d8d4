"""Results behind links: tried again while the call's deadline leaves time, and no longer."""

from __future__ import annotations

import gzip
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from random import Random

import brotli
import pytest

from imagequeue.domain.backoff import IMAGE_DOWNLOAD
from imagequeue.domain.upstream import LinkBroken, Unavailable
from imagequeue.egress.client import GuardedClient
from imagequeue.egress.policy import EgressPolicy
from imagequeue.lifecycle.generate.download import LAST_TRY_SECONDS, Downloading, pause_seconds
from imagequeue.media.images import MOST_OUTPUT_BYTES
from tests.origin import Origin

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin() as served:
        yield served


@pytest.fixture
def downloading(origin: Origin) -> Downloading:
    policy = EgressPolicy.parse(allow=origin.place)
    return Downloading(GuardedClient(policy, user_agent="test"), Random(1))  # noqa: S311  # no secret


def test_a_server_that_hangs_is_asked_once_when_that_takes_all_the_time(
    origin: Origin, downloading: Downloading
) -> None:
    with pytest.raises(LinkBroken, match="timeout"):
        downloading.run(f"{origin.url}/held.png", time.monotonic() + 1)
    assert origin.requests["/held.png"] == 1


@pytest.mark.parametrize(
    "status", [202, 204, 206, 302, 304, 400, 401, 403, 404, 408, 409, 410, 423, 425, 429, 500, 502, 503, 504]
)
def test_whatever_a_link_answers_it_is_asked_again_while_there_is_time(
    origin: Origin, downloading: Downloading, status: int
) -> None:
    origin.statuses.extend([status])
    with downloading.run(f"{origin.url}/image.png", time.monotonic() + 60) as download:
        assert download.file.read() == origin.bodies["/image.png"]
    assert origin.requests["/image.png"] == 2


def test_a_link_that_fails_for_seconds_is_not_given_up(origin: Origin, downloading: Downloading) -> None:
    """More than three tries: what was bought is not bought again while there is time."""
    origin.statuses.extend([503] * 4)
    with downloading.run(f"{origin.url}/image.png", time.monotonic() + 120) as download:
        assert download.file.read() == origin.bodies["/image.png"]
    assert origin.requests["/image.png"] == 5


def test_where_a_fresh_link_can_be_had_a_few_tries_are_enough(
    origin: Origin, downloading: Downloading
) -> None:
    origin.statuses.extend([404, 404, 404])
    with pytest.raises(LinkBroken, match="status 404"):
        downloading.run(f"{origin.url}/image.png", time.monotonic() + 120, tries=2)
    assert origin.requests["/image.png"] == 2


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd.compress,
}


@pytest.mark.parametrize("coding", PACK)
def test_an_image_that_its_store_compresses_unasked_is_unpacked(
    origin: Origin, downloading: Downloading, coding: str
) -> None:
    image = origin.bodies["/image.png"]
    origin.bodies["/image.png"] = PACK[coding](image)
    origin.headers["Content-Encoding"] = coding
    with downloading.run(f"{origin.url}/image.png", time.monotonic() + 60) as download:
        assert download.file.read() == image
    assert origin.requests["/image.png"] == 1


def test_a_small_file_that_unpacks_to_too_much_is_no_image(origin: Origin, downloading: Downloading) -> None:
    origin.bodies["/image.png"] = gzip.compress(bytes(MOST_OUTPUT_BYTES + 1))
    origin.headers["Content-Encoding"] = "gzip"
    with pytest.raises(Unavailable, match="64 MiB"):
        downloading.run(f"{origin.url}/image.png", time.monotonic() + 60)


@pytest.mark.parametrize("body", [b"<html>Not ready", b'{"status": "pending"}', b"", b"Please wait"])
def test_a_link_that_answers_200_with_no_image_is_asked_again_while_there_is_time(
    origin: Origin, downloading: Downloading, body: bytes
) -> None:
    origin.first_bodies.append(body)
    with downloading.run(f"{origin.url}/image.png", time.monotonic() + 60) as download:
        assert download.file.read() == origin.bodies["/image.png"]
    assert origin.requests["/image.png"] == 2


@pytest.mark.parametrize("left", [1.5, 3.0, 7.0, 9.0, 100.0])
def test_the_last_try_comes_just_before_the_deadline_and_none_after_it(left: float) -> None:
    random, failures = Random(1), 0  # noqa: S311  # no secret
    while (pause := pause_seconds(failures + 1, left, random)) is not None:
        assert 0 < pause <= IMAGE_DOWNLOAD.longest_seconds
        failures, left = failures + 1, left - pause
    assert failures >= 1
    assert left == pytest.approx(LAST_TRY_SECONDS)


def test_a_link_that_never_gives_an_image_is_broken(origin: Origin, downloading: Downloading) -> None:
    with pytest.raises(LinkBroken, match="no image"):
        downloading.run(f"{origin.url}/page", time.monotonic() + 60, tries=2)


def test_a_link_may_redirect_and_not_to_a_private_address(origin: Origin, downloading: Downloading) -> None:
    origin.statuses.append(307)
    origin.headers["Location"] = "/image.png"
    with downloading.run(f"{origin.url}/elsewhere", time.monotonic() + 60) as download:
        assert download.file.read() == origin.bodies["/image.png"]
    origin.statuses.append(307)
    origin.headers["Location"] = "http://169.254.169.254/latest/meta-data/"
    with pytest.raises(Unavailable, match="refused"):
        downloading.run(f"{origin.url}/elsewhere", time.monotonic() + 60)
