r"""Parses a client's URL and applies the rules that need no name look-up.

URL parsers disagree about which part of a text is the host: `http://127.0.0.1:6666\@1.1.1.1`, fullwidth
digits, encoded delimiters, tabs. A URL that the check and the connection parse differently gets past the
check. So the text is parsed once, by a grammar that has a single meaning for everything that it accepts, and
the connection gets the pieces, not the text. Everything else is refused, with a reason for the client.

At submit no name is resolved: the answer would say nothing about the connection that is made later.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from imagequeue.domain.errors import DestinationRefused
from imagequeue.egress.policy import EgressPolicy, plain_literal

LONGEST_URL: Final = 2048  # bytes
_LONGEST_NAME: Final = 253  # characters, the most in DNS
_HIGHEST_PORT: Final = 65_535
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+")
_URL: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<target>[/?][^#]*)?"
)
_HOST_PORT: Final = re.compile(r"(?P<host>\[[^\[\]]*\]|[^\[\]:]*)(?::(?P<port>[1-9][0-9]{0,4}))?")
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# Some resolvers read a last label that starts with a digit as a number: 127.1, 0x7f000001, 1e3.
_LAST_LABEL: Final = re.compile(r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])")
_SECOND_URL: Final = re.compile(r",\s*https?://", re.IGNORECASE)
# The public DNS has no names below these.
_PRIVATE_SUFFIXES: Final = (
    "localhost",
    "localdomain",
    "local",
    "internal",
    "lan",
    "home.arpa",
    "svc",
    "onion",
    "invalid",
    "test",
)


class Purpose(StrEnum):
    """What a destination is for; it decides which schemes and ports are acceptable."""

    WEBHOOK = "webhook"  # https on 443 and 8443
    IMAGE = "image"  # an input image, or one in an upstream's answer: http and https on their default ports


_PORTS: Final[dict[tuple[Purpose, str], frozenset[int]]] = {
    (Purpose.WEBHOOK, "https"): frozenset({443, 8443}),
    (Purpose.IMAGE, "http"): frozenset({80}),
    (Purpose.IMAGE, "https"): frozenset({443}),
}


@dataclass(frozen=True, slots=True)
class Destination:
    """A URL that passed `check_destination`, in the pieces that a connection needs; `url` is as given."""

    scheme: str
    host: str
    port: int
    target: str
    url: str

    @property
    def authority(self) -> str:
        """The value of the Host header: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: with the account they are the target of a delivery."""
        return self.scheme, self.host, self.port


def sole_webhook_url(values: Sequence[str]) -> str | None:
    """Return the one value of `X-Webhook-URL`; None if the header was not sent.

    Raises:
        DestinationRefused: several headers, or several URLs in one. Picking one would be guessing.
    """
    if not values:
        return None
    if len(values) > 1 or _SECOND_URL.search(values[0]):
        raise DestinationRefused("X-Webhook-URL must be given once, with one URL")
    return values[0]


def check_destination(url: str, policy: EgressPolicy, purpose: Purpose = Purpose.WEBHOOK) -> Destination:
    """Read `url` and apply every rule that needs no name look-up.

    Raises:
        DestinationRefused: with a short reason for the client.
    """
    destination = _parse(url)
    listed = policy.lists(destination.host, destination.port)
    if not listed:
        _check_scheme_and_port(destination, purpose)
        _check_host(destination.host)
    if policy.is_own(destination.host, destination.port) or policy.denies(destination.host, destination.port):
        raise DestinationRefused("the URL's host is not accepted here")
    return destination


def _parse(url: str) -> Destination:
    _check_characters(url)
    match = _URL.fullmatch(url)
    if match is None:
        raise DestinationRefused("the URL must have the form https://host/path, without a fragment")
    scheme = match["scheme"].lower()
    if scheme not in _DEFAULT_PORTS:
        raise DestinationRefused("the URL's scheme must be https")
    host, port = _split_authority(match["authority"])
    target = match["target"] or "/"
    if target.startswith("?"):
        target = "/" + target
    return Destination(scheme, host, _DEFAULT_PORTS[scheme] if port is None else port, target, url)


def _check_characters(url: str) -> None:
    if len(url.encode("utf-8", "surrogatepass")) > LONGEST_URL:
        raise DestinationRefused(f"the URL is longer than {LONGEST_URL} bytes")
    if not _PRINTABLE.fullmatch(url):
        raise DestinationRefused("the URL must be printable ASCII without spaces (punycode for other names)")
    if "\\" in url:
        raise DestinationRefused("the URL must not contain a backslash")


def _split_authority(authority: str) -> tuple[str, int | None]:
    if "@" in authority:
        raise DestinationRefused("the URL must not carry a user name or password")
    if "%" in authority:
        raise DestinationRefused("the URL's host must not be percent-encoded")
    match = _HOST_PORT.fullmatch(authority)
    if match is None or (match["port"] is not None and int(match["port"]) > _HIGHEST_PORT):
        raise DestinationRefused("the URL's host or port is malformed")
    host: str = match["host"].lower()
    if host.startswith("["):
        host = host[1:-1]
        if ":" not in host or plain_literal(host) is None:
            raise DestinationRefused("the URL's host must be a name, not an IP address")
    return host, None if match["port"] is None else int(match["port"])


def _check_scheme_and_port(destination: Destination, purpose: Purpose) -> None:
    ports = _PORTS.get((purpose, destination.scheme))
    if ports is None:
        raise DestinationRefused("the URL's scheme must be https")
    if destination.port not in ports:
        accepted = " or ".join(str(port) for port in sorted(ports))
        raise DestinationRefused(f"the URL's port must be {accepted}")


def _check_host(host: str) -> None:
    if ":" in host or plain_literal(host) is not None:
        raise DestinationRefused("the URL's host must be a name, not an IP address")
    labels = host.split(".")
    if len(host) > _LONGEST_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        raise DestinationRefused("the URL's host is not a valid name")
    if len(labels) == 1 or not _LAST_LABEL.fullmatch(labels[-1]) or _is_private_name(host):
        raise DestinationRefused("the URL's host must be a public name")


def _is_private_name(host: str) -> bool:
    return any(host == suffix or host.endswith("." + suffix) for suffix in _PRIVATE_SUFFIXES)
