"""What the operator allows and denies beyond the rule for public addresses.

Entries are CIDRs or `host:port`. Deny wins over allow, and no entry opens what `addresses.is_forbidden`
closes. `host:port` matches that name and port, whatever addresses the name has; a CIDR matches addresses, on
any port.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from imagequeue.domain.errors import ConfigurationError
from imagequeue.egress.addresses import (
    IPAddress,
    IPNetwork,
    behind_nat64,
    is_forbidden,
    is_forbidden_network,
    is_public,
)

ALLOW_VARIABLE: Final = "IMAGEQUEUE_EGRESS_ALLOW"
DENY_VARIABLE: Final = "IMAGEQUEUE_EGRESS_DENY"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_HIGHEST_PORT: Final = 65_535
# Bits of a prefix. A shorter one spans more than the largest private networks, 10.0.0.0/8 and fc00::/7.
_WIDEST_V4: Final = 8
_WIDEST_V6: Final = 7
_NAME: Final = re.compile(
    r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
)
_HOST_AND_PORT: Final = re.compile(
    r"(?:\[(?P<v6>[0-9a-f:]+)\]|(?P<host>[^\[\]:]+)):(?P<port>[1-9][0-9]{0,4})"
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A name, or an address in its plain spelling, and a port (None: every port)."""

    host: str
    port: int | None


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """The operator's lists, parsed. Empty by default: only public addresses are admitted."""

    allowed_networks: tuple[IPNetwork, ...] = ()
    allowed_endpoints: frozenset[Endpoint] = frozenset()
    denied_networks: tuple[IPNetwork, ...] = ()
    denied_endpoints: frozenset[Endpoint] = frozenset()
    own: Endpoint | None = None

    @classmethod
    def parse(cls, *, allow: str = "", deny: str = "", public_url: str | None = None) -> EgressPolicy:
        """Read the two lists (comma-separated) and this service's own public URL.

        Raises:
            ConfigurationError: an entry is no CIDR or host:port, or not permitted; the message names it.
        """
        allowed_networks, allowed_endpoints = _parse_list(allow, ALLOW_VARIABLE, _allow_entry)
        denied_networks, denied_endpoints = _parse_list(deny, DENY_VARIABLE, _deny_entry)
        own = None if public_url is None else _own_endpoint(public_url)
        return cls(allowed_networks, allowed_endpoints, denied_networks, denied_endpoints, own)

    def lists(self, host: str, port: int) -> bool:
        """Whether the allow-list names this very host: by `host:port`, or as a literal inside a CIDR."""
        if Endpoint(host, port) in self.allowed_endpoints:
            return True
        literal = plain_literal(host)
        return literal is not None and any(literal in network for network in self.allowed_networks)

    def denies(self, host: str, port: int) -> bool:
        """Whether the deny-list names this host or a domain above it."""
        return any(
            Endpoint(name, denied_port) in self.denied_endpoints
            for name in _with_parents(host)
            for denied_port in (port, None)
        )

    def is_own(self, host: str, port: int) -> bool:
        """Whether a request there would come back to this service.

        That is so for its public host on every port, except another port that the allow-list names (for a
        receiver on the same development machine). Other names of the service belong in the deny-list: behind
        a shared load balancer or CDN its address does not identify it.
        """
        if self.own is None or host != self.own.host:
            return False
        return port == self.own.port or not self.lists(host, port)

    def admits(self, host: str, port: int, address: IPAddress) -> bool:
        """Whether a connection to `address`, found under `host`, may be opened."""
        if is_forbidden(address) or self.denies(host, port):
            return False
        inside = behind_nat64(address) or address
        if any(one in network for one in (address, inside) for network in self.denied_networks):
            return False
        if is_public(address) or Endpoint(host, port) in self.allowed_endpoints:
            return True
        return any(address in network for network in self.allowed_networks)


def plain_literal(host: str) -> IPAddress | None:
    """Return the address that `host` spells in its plain form; None for names and every other spelling."""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return address if str(address) == host else None


def _parse_list(
    text: str, variable: str, parse_entry: Callable[[str], IPNetwork | Endpoint]
) -> tuple[tuple[IPNetwork, ...], frozenset[Endpoint]]:
    networks: list[IPNetwork] = []
    endpoints: set[Endpoint] = set()
    for entry in filter(None, (part.strip().lower() for part in text.split(","))):
        try:
            parsed = parse_entry(entry)
        except ValueError as error:
            raise ConfigurationError(f"{variable}: {entry!r}: {error}") from None
        endpoints.add(parsed) if isinstance(parsed, Endpoint) else networks.append(parsed)
    return tuple(networks), frozenset(endpoints)


def _allow_entry(entry: str) -> IPNetwork | Endpoint:
    network = _network(entry)
    if network is None:
        endpoint = _endpoint(entry)
        literal = plain_literal(endpoint.host)
        if literal is not None and is_forbidden(literal):
            raise ValueError("link-local, metadata and multicast addresses cannot be allowed")
        return endpoint
    if network.prefixlen < (_WIDEST_V4 if isinstance(network, IPv4Network) else _WIDEST_V6):
        raise ValueError("too wide; name the private networks that are meant")
    if is_forbidden_network(network):
        raise ValueError("link-local, metadata and multicast addresses cannot be allowed")
    return network


def _deny_entry(entry: str) -> IPNetwork | Endpoint:
    network = _network(entry)
    if network is not None:
        return network
    return Endpoint(entry, None) if _NAME.fullmatch(entry) else _endpoint(entry)


def _network(entry: str) -> IPNetwork | None:
    try:
        return ip_network(entry)
    except ValueError:
        if "/" in entry:
            raise
        return None


def _endpoint(entry: str) -> Endpoint:
    match = _HOST_AND_PORT.fullmatch(entry)
    if match is None or int(match["port"]) > _HIGHEST_PORT:
        raise ValueError("neither a CIDR nor host:port")
    host: str = match["v6"] or match["host"]
    if plain_literal(host) is None and not _NAME.fullmatch(host):
        raise ValueError("the host is neither a name nor a plainly written address")
    return Endpoint(host, int(match["port"]))


def _own_endpoint(public_url: str) -> Endpoint | None:
    try:
        parts = urlsplit(public_url)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError as error:
        raise ConfigurationError(f"IMAGEQUEUE_PUBLIC_URL: {public_url!r}: {error}") from None
    return None if parts.hostname is None else Endpoint(parts.hostname, port)


def _with_parents(host: str) -> Iterator[str]:
    """Yield the host and, for a name, the domains above it."""
    yield host
    if plain_literal(host) is None:
        labels = host.split(".")
        yield from (".".join(labels[start:]) for start in range(1, len(labels)))
