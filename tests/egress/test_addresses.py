"""The address rule: which addresses are public."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagequeue.egress.addresses import is_forbidden, is_public
from imagequeue.egress.policy import EgressPolicy
from tests.egress.corpus import connect_addresses


@pytest.mark.parametrize("address", sorted(connect_addresses()))
def test_every_address_of_the_sample_is_refused_at_connect(address: str) -> None:
    assert not is_public(ip_address(address))
    assert not EgressPolicy().admits("public.example.com", 443, ip_address(address))


def test_the_sample_has_addresses() -> None:
    assert len(connect_addresses()) > 30


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "8.8.8.8",
        "93.184.216.34",
        "172.32.0.1",
        "100.128.0.1",
        "192.0.1.1",
        "2606:4700::1111",
        "2a00::1",
    ],
)
def test_public_addresses_are_admitted(address: str) -> None:
    assert EgressPolicy().admits("public.example.com", 443, ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "168.63.129.16",
        "169.254.169.254",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:8.8.8.8",
        "::ffff:100.64.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:1ff:ffff::",
        "2001:db8::1",
        "2002:a00:1::",
        "3fff:fff::",
        "4000::1",
        "5f00::1",
        "fc00::1",
        "fe80::1",
        "fec0::1",
        "ff0e::1",
    ],
)
def test_special_addresses_are_refused(address: str) -> None:
    assert not is_public(ip_address(address))


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_a_public_ipv4_address_is_at_least_global_to_the_library(address: IPv4Address) -> None:
    if is_public(address):
        assert address.is_global
        assert not address.is_multicast


@given(st.integers(0, 2**128 - 1).map(IPv6Address))
def test_a_public_ipv6_address_is_allocated_unicast(address: IPv6Address) -> None:
    if is_public(address):
        assert address.exploded[0] in "23"
        assert address.is_global
    embedded = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[0])
    assert not (embedded and is_public(address))


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_behind_nat64_the_address_inside_decides(address: IPv4Address) -> None:
    translated = IPv6Address(b"\x00\x64\xff\x9b" + bytes(8) + address.packed)
    assert is_public(translated) == is_public(address)
    assert is_forbidden(translated) != is_public(address)
