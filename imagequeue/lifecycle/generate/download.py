"""Download: get an image that an upstream's answer names by URL, within the call's deadline."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from random import Random

from imagequeue.domain.backoff import IMAGE_DOWNLOAD
from imagequeue.domain.errors import InvalidRequest
from imagequeue.domain.upstream import Ambiguous, Unavailable
from imagequeue.egress.answers import Download
from imagequeue.egress.client import DOWNLOAD_LIMITS, GuardedClient
from imagequeue.egress.deadline import Limits
from imagequeue.egress.errors import BodyTooLarge, DestinationBlocked, EgressError
from imagequeue.egress.grammar import Purpose, check_destination
from imagequeue.egress.policy import EgressPolicy
from imagequeue.media.images import MOST_OUTPUT_BYTES


@dataclass(frozen=True, slots=True)
class Downloading:
    """The verb, with what it needs."""

    client: GuardedClient
    policy: EgressPolicy
    stopping: threading.Event
    random: Random = field(default_factory=Random)

    def run(self, url: str, until: float) -> Download:
        """Download an image. It is paid for, so a broken download is tried again while there is time.

        Raises:
            Unavailable: its URL is refused by the egress guard, or the image is too large.
            Ambiguous: it could not be had before `until` (seconds of `time.monotonic`).
        """
        for number in range(1, IMAGE_DOWNLOAD.tries):
            try:
                return self._once(url, until)
            except Ambiguous:
                pause = IMAGE_DOWNLOAD.wait_seconds(number, self.random)
                if time.monotonic() + pause >= until:
                    raise
                self.stopping.wait(pause)
        return self._once(url, until)

    def _once(self, url: str, until: float) -> Download:
        left = min(until - time.monotonic(), DOWNLOAD_LIMITS.total_seconds)
        limits = Limits(total_seconds=left, first_byte_seconds=left)
        try:
            destination = check_destination(url, self.policy, Purpose.IMAGE)
            download = self.client.download(destination, max_bytes=MOST_OUTPUT_BYTES, limits=limits)
        except (InvalidRequest, DestinationBlocked) as error:
            raise Unavailable("the upstream points to a URL that is refused") from error
        except BodyTooLarge as error:
            raise Unavailable(f"an image has more than {MOST_OUTPUT_BYTES // 2**20} MiB") from error
        except EgressError as error:
            raise Ambiguous(f"the image could not be downloaded: {error.code}") from error
        if download.status == HTTPStatus.OK:
            return download
        with download:
            raise Ambiguous(f"the image could not be downloaded: status {download.status}")
