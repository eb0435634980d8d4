"""Which addresses belong to the public internet. Default deny.

The standard library's `is_global` is no help: it holds for multicast, for Azure's 168.63.129.16, for
192.88.99.1, and for several IPv6 forms that carry a private IPv4 address inside. So the rule is written out.
IPv6: only the block that IANA hands out (2000::/3), without the parts of it that tunnel, document or name no
host; every mapped, unique-local, link-local and multicast form lies outside that block. IPv4: all but the
table.

Behind NAT64 every name of an IPv4 host leads to an address below 64:ff9b::/96, which has that host's IPv4
address at its end (RFC 6052). It is judged by that one. A translator must not be sent one that is not public,
so no allow-list opens those.

Source of the tables: the IANA special-purpose address registries for IPv4 and IPv6 (RFC 6890 and its
successors).
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

IPAddress: TypeAlias = IPv4Address | IPv6Address
IPNetwork: TypeAlias = IPv4Network | IPv6Network

_NOT_PUBLIC_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network; Linux connects 0.0.0.0 to loopback
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared address space of carriers and overlays
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's host agent: a public number, never a public host
        "169.254.0.0/16",  # link-local, metadata services
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # multicast tunnelling relays
        "192.88.99.0/24",  # former 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and the broadcast address
    )
)
_ALLOCATED_V6 = IPv6Network("2000::/3")
_NOT_PUBLIC_V6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments, Teredo and ORCHID among them
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address inside
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)

# What no operator's allow-list can open: these networks have no receivers, and a metadata service gives
# credentials to every caller. The IPv6 forms with an IPv4 address inside would bypass the table above.
_NEVER_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "100.100.100.200/32",  # Alibaba Cloud metadata, inside the carriers' shared space
        "168.63.129.16/32",
        "169.254.0.0/16",
        "192.0.0.192/32",  # Oracle Cloud metadata
        "224.0.0.0/4",
        "255.255.255.255/32",
    )
)
_NEVER_V6 = tuple(
    IPv6Network(text)
    for text in (
        "::ffff:0:0/96",  # IPv4-mapped
        "::ffff:0:0:0/96",  # IPv4-translated
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # NAT64, local use
        "2001::/32",  # Teredo
        "2002::/16",  # 6to4
        "fd00:42::42/128",  # Scaleway metadata
        "fd00:c1::a9fe:a9fe/128",  # Oracle Cloud metadata
        "fd00:ec2::/32",  # AWS metadata, time, name and container credential services
        "fd20:ce::254/128",  # Google Cloud metadata
        "fe80::/10",
        "fec0::/10",  # deprecated site-local
        "ff00::/8",
    )
)
_LINK_LOCAL_V4 = IPv4Network("169.254.0.0/16")
_LINK_LOCAL_V6 = IPv6Network("fe80::/10")
_NAT64 = IPv6Network("64:ff9b::/96")
_IPV4_COMPATIBLE = IPv6Network("::/96")  # deprecated too; loopback is the one address in it that has a use
_LOOPBACK_V6 = IPv6Address("::1")


def behind_nat64(address: IPAddress) -> IPv4Address | None:
    """The IPv4 address to which a NAT64 translates this one; None: to none."""
    if isinstance(address, IPv6Address) and address in _NAT64:
        return IPv4Address(address.packed[-4:])
    return None


def is_public(address: IPAddress) -> bool:
    """Whether a host of the public internet may be expected at `address` (default deny)."""
    address = behind_nat64(address) or address
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    return address in _ALLOCATED_V6 and not any(address in network for network in _NOT_PUBLIC_V6)


def is_forbidden(address: IPAddress) -> bool:
    """Whether no allow-list can open `address`: link-local, metadata services, multicast and the like."""
    if isinstance(address, IPv4Address):
        return any(address in network for network in _NEVER_V4)
    if inside := behind_nat64(address):
        return not is_public(inside)
    if address in _IPV4_COMPATIBLE:
        return address != _LOOPBACK_V6
    return any(address in network for network in _NEVER_V6)


def is_forbidden_network(network: IPNetwork) -> bool:
    """Whether an allow-list entry is pointless or dangerous: link-local in part, or wholly forbidden.

    A wide private range may contain a single metadata address (100.64.0.0/10 does); such an entry is taken,
    and the address in it stays closed by `is_forbidden`.
    """
    if isinstance(network, IPv4Network):
        return network.overlaps(_LINK_LOCAL_V4) or any(network.subnet_of(closed) for closed in _NEVER_V4)
    return network.overlaps(_LINK_LOCAL_V6) or any(network.subnet_of(closed) for closed in _NEVER_V6)
