"""Download: get an image that an upstream's answer names by URL, within the call's deadline.

The image is paid for, so whatever its link answers, it is asked again until that deadline: a link may lead to
a store that does not have the image yet, or not any more for a moment, and some stores say so with 200 and a
page. An upstream that is polled can be asked for a fresh link instead; there a few tries are enough.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from random import Random

from imagequeue.domain.backoff import IMAGE_DOWNLOAD
from imagequeue.domain.errors import DestinationRefused
from imagequeue.domain.upstream import LinkBroken, Unavailable
from imagequeue.egress.answers import Download
from imagequeue.egress.client import DOWNLOAD_LIMITS, GuardedClient
from imagequeue.egress.deadline import Limits
from imagequeue.egress.errors import BodyTooLarge, DestinationBlocked, EgressError
from imagequeue.egress.redirects import download_image
from imagequeue.lifecycle.generate.unpacked_download import unpacked_download
from imagequeue.media.images import MOST_OUTPUT_BYTES
from imagequeue.providers.pictures import HEAD_BYTES, is_image

LAST_TRY_SECONDS = 1.0
"""So long before the deadline the last try begins, where the next pause would end after that."""


def pause_seconds(failures: int, left_seconds: float, random: Random) -> float | None:
    """Seconds until the next try after so many failures in a row; None: there is no time for another one.

    No time is given away: a pause that is too long ends when a last try is still possible.
    """
    if left_seconds <= LAST_TRY_SECONDS:
        return None
    return min(IMAGE_DOWNLOAD.wait_seconds(failures, random), left_seconds - LAST_TRY_SECONDS)


@dataclass(frozen=True, slots=True)
class Downloading:
    """The verb, with what it needs."""

    client: GuardedClient
    random: Random = field(default_factory=Random)

    def run(self, url: str, until: float, *, tries: int = IMAGE_DOWNLOAD.tries) -> Download:
        """Download an image; it is tried again while there is time, and at most `tries` times.

        Raises:
            Unavailable: its URL is refused by the egress guard, or the image is too large.
            LinkBroken: it could not be had before `until` (seconds of `time.monotonic`).
        """
        failures = 0
        while True:
            try:
                return self._once(url, until)
            except LinkBroken:
                failures += 1
                pause = pause_seconds(failures, until - time.monotonic(), self.random)
                if failures >= tries or pause is None:
                    raise
                # Also while the process stops: calls in flight run to their end.
                threading.Event().wait(pause)

    def _once(self, url: str, until: float) -> Download:
        left = min(until - time.monotonic(), DOWNLOAD_LIMITS.total_seconds)
        limits = Limits(total_seconds=left, first_byte_seconds=left)
        try:
            download = download_image(self.client, url, max_bytes=MOST_OUTPUT_BYTES, limits=limits)
            if download.status == HTTPStatus.OK:
                return _image(download)
        except (DestinationRefused, DestinationBlocked) as error:
            raise Unavailable("the upstream points to a URL that is refused") from error
        except BodyTooLarge as error:
            raise Unavailable(f"an image has more than {MOST_OUTPUT_BYTES // 2**20} MiB") from error
        except EgressError as error:
            raise LinkBroken(f"the image could not be downloaded: {error.code}") from error
        with download:
            raise LinkBroken(f"the image could not be downloaded: status {download.status}")


def _image(download: Download) -> Download:
    """A download without codings.

    Raises:
        LinkBroken: it does not begin as an image, or cannot be unpacked.
        BodyTooLarge: it unpacks to more than an image may have.
    """
    try:
        download = unpacked_download(download, MOST_OUTPUT_BYTES)
    except Unavailable as error:
        raise LinkBroken(f"the image could not be downloaded: {error.reason}") from error
    begins_as_image = is_image(download.file.read(HEAD_BYTES))
    download.file.seek(0)
    if begins_as_image:
        return download
    with download:
        raise LinkBroken("the image could not be downloaded: its link gives something that is no image")
