"""Downloads that may be redirected: every hop is a URL that somebody else chose, and is checked as the first.

The grammar, the operator's lists and the address at the connection decide about each hop anew. A hop from
https to http is refused, because the content could be exchanged on the way, unless the operator allows that
host and port. No request carries a key or a cookie, so a hop can leak none.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final
from urllib.parse import quote, urldefrag, urljoin

from imagequeue.domain.errors import DestinationRefused
from imagequeue.egress.answers import Download
from imagequeue.egress.client import GuardedClient
from imagequeue.egress.deadline import Limits
from imagequeue.egress.grammar import Destination, Purpose

MOST_HOPS: Final = 3
"""Redirects of one download: a bucket behind a CDN behind a short link needs them all."""

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_PRINTABLE: Final = "".join(map(chr, range(0x21, 0x7F)))


def download_image(client: GuardedClient, url: str, *, max_bytes: int, limits: Limits) -> Download:
    """Download an image, over at most `MOST_HOPS` redirects; `limits.total_seconds` is for all of them.

    A redirect that names no URL is returned as it is, with its status.

    Raises:
        DestinationRefused: the URL, or one to which it is redirected, may not be fetched; or there are too
            many redirects.
        BodyTooLarge: the body has more than `max_bytes`.
        EgressError: there is no complete answer.
    """
    until = time.monotonic() + limits.total_seconds
    destination = client.destination(url, Purpose.IMAGE)
    for hops in range(MOST_HOPS + 1):
        left = replace(limits, total_seconds=until - time.monotonic())
        answer = client.download(destination, max_bytes=max_bytes, limits=left)
        location = answer.header("location") if answer.status in _REDIRECTS else None
        if location is None:
            return answer
        with answer:
            if hops < MOST_HOPS:
                destination = _redirected(destination, location, client)
    raise DestinationRefused(f"the URL redirects more than {MOST_HOPS} times")


def _redirected(source: Destination, location: str, client: GuardedClient) -> Destination:
    """Where a `Location` leads (RFC 9110, section 10.2.2): it may be relative, and is made plain ASCII."""
    plain = quote(location.strip().encode("latin-1"), safe=_PRINTABLE)
    try:
        url = urldefrag(urljoin(source.url, plain)).url
    except ValueError:  # half an IPv6 address, for instance
        raise DestinationRefused("the URL redirects to what is no URL") from None
    try:
        target = client.destination(url, Purpose.IMAGE)
    except DestinationRefused as error:
        raise DestinationRefused(f"the URL redirects to one that is refused: {error.message}") from None
    downgraded = source.scheme == "https" and target.scheme == "http"
    if downgraded and not client.policy.lists(target.host, target.port):
        raise DestinationRefused("the URL redirects from https to http")
    return target
