"""Whose request it is, by address: that of the connection, or what a trusted proxy says.

A proxy appends the address that it sees to `X-Forwarded-For`, and everything before that was written by its
client. So the entries are read from the right, past those of trusted proxies, and the first other one counts.
`Forwarded` is not read: a proxy that sets the one header passes the other one on as its client wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

_WITH_PORT = re.compile(r"\[(?P<v6>[^\]]*)\](?::\d{1,5})?|(?P<v4>\d+\.\d+\.\d+\.\d+):\d{1,5}")
_REMEMBERED = 4096
"""Addresses whose parsing is remembered: it takes longer than all else that is done with them."""
_ONE_SITE = 64
"""Bits of an IPv6 address that its user cannot choose: every customer has a /64, and may use all of it."""


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """The networks whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed; none by default."""

    networks: tuple[IPNetwork, ...] = ()

    @classmethod
    def parse(cls, text: str) -> TrustedProxies:
        """Read comma-separated CIDRs or addresses.

        Raises:
            ValueError: an entry is neither; the message names it.
        """
        entries = [part.strip() for part in text.split(",") if part.strip()]
        return cls(tuple(ip_network(entry) for entry in entries))

    def trusts(self, address: str) -> bool:
        """Whether what this address forwards is believed."""
        return bool(self.networks) and _is_in(self.networks, address)

    def client(self, peer: str, forwarded_for: Sequence[str]) -> str:
        """The address that a request of this peer counts for; `forwarded_for` has the headers' values.

        An entry that is no address ends the search, because whoever wrote it is not trusted.
        """
        client = peer
        entries = ",".join(forwarded_for).split(",")
        while entries and self.trusts(client):
            address = _parse(entries.pop().strip())
            if address is None:
                break
            client = str(address)
        return client


@lru_cache(_REMEMBERED)
def counted(address: str) -> str:
    """What an address is counted as: itself, or the /64 of an IPv6 address. A socket without one: empty."""
    parsed = _parse(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((parsed, _ONE_SITE), strict=False))
    return "" if parsed is None else str(parsed)


@lru_cache(_REMEMBERED)
def _is_in(networks: tuple[IPNetwork, ...], address: str) -> bool:
    parsed = _parse(address)
    return parsed is not None and any(parsed in network for network in networks)


def _parse(text: str) -> IPAddress | None:
    """An address, also with a port, and an IPv4 address that is written as an IPv6 one."""
    found = _WITH_PORT.fullmatch(text)
    try:
        address = ip_address((found["v6"] or found["v4"]) if found else text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
