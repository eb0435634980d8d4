"""The address rule, and what the operator's lists can and cannot change about it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagequeue.domain.errors import ConfigurationError
from imagequeue.egress.addresses import is_forbidden, is_public
from imagequeue.egress.policy import EgressPolicy
from tests.egress.corpus import addresses_in, rows

MOST_OPEN = EgressPolicy.parse(
    allow="10.0.0.0/8,100.64.0.0/10,127.0.0.0/8,172.16.0.0/12,192.168.0.0/16,198.18.0.0/15,168.0.0.0/8,192.0.0.0/8,"
    "fc00::/7,::1/128,named.example:443"
)


def _corpus_addresses() -> set[str]:
    spelled = {address for row in rows() if row.refused_at == "connect" for address in addresses_in(row.why)}
    for row in rows():
        try:
            host = urlsplit(row.text).hostname or ""
            spelled.add(str(ip_address(host)))
        except ValueError:
            continue
    return spelled - {"1.1.1.1", "2.2.2.2"}


@pytest.mark.parametrize("address", sorted(_corpus_addresses()))
def test_every_address_of_the_sample_is_refused_at_connect(address: str) -> None:
    assert not is_public(ip_address(address))
    assert not EgressPolicy().admits("public.example.com", 443, ip_address(address))


def test_the_sample_has_addresses() -> None:
    assert len(_corpus_addresses()) > 30


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


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "169.254.169.254",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::7f00:1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::1",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fe80::1",
        "ff02::1",
    ],
)
def test_no_allow_list_opens_metadata_and_link_local(address: str) -> None:
    assert is_forbidden(ip_address(address))
    assert not MOST_OPEN.admits("named.example", 443, ip_address(address))


@pytest.mark.parametrize("address", ["10.9.8.7", "100.64.0.9", "127.0.0.1", "::1", "fd12::1", "192.168.1.1"])
def test_the_allow_list_opens_its_networks_on_any_port(address: str) -> None:
    assert MOST_OPEN.admits("anything.example.com", 443, ip_address(address))
    assert MOST_OPEN.admits("anything.example.com", 8080, ip_address(address))


def test_a_listed_name_may_lead_to_a_private_address_on_its_port_only() -> None:
    policy = EgressPolicy.parse(allow="named.example:8080")
    assert policy.admits("named.example", 8080, ip_address("10.0.0.1"))
    assert not policy.admits("named.example", 443, ip_address("10.0.0.1"))
    assert not policy.admits("other.example", 8080, ip_address("10.0.0.1"))


def test_deny_wins_over_allow_and_over_public() -> None:
    policy = EgressPolicy.parse(
        allow="10.0.0.0/8,named.example:443", deny="10.1.0.0/16, 93.184.216.34, named.example"
    )
    assert policy.admits("x.example", 443, ip_address("10.2.0.1"))
    assert not policy.admits("x.example", 443, ip_address("10.1.0.1"))
    assert not policy.admits("x.example", 443, ip_address("93.184.216.34"))
    assert not policy.admits("named.example", 443, ip_address("8.8.8.8"))


@pytest.mark.parametrize(
    "entry",
    [
        "0.0.0.0/0",
        "::/0",
        "0.0.0.0/1",
        "128.0.0.0/1",
        "::/3",
        "169.254.0.0/16",
        "169.254.169.254",
        "169.0.0.0/8",
        "169.254.169.254:80",
        "168.63.129.16",
        "100.100.100.200:80",
        "[fd00:ec2::254]:80",
        "[::ffff:10.0.0.1]:80",
        "fe80::/10",
        "fd00:ec2::254",
        "::ffff:0:0/96",
        "224.0.0.0/8",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "receiver",
        "receiver:0",
        "receiver:65536",
        "receiver:http",
        "127.1:80",
        "0x7f000001:80",
        "http://receiver:80",
        "*:80",
        "*",
    ],
)
def test_an_allow_entry_that_may_not_be_is_refused_by_name(entry: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        EgressPolicy.parse(allow=f"10.0.0.0/8, {entry}")
    assert "IMAGEQUEUE_EGRESS_ALLOW" in refusal.value.message
    assert entry in refusal.value.message


@pytest.mark.parametrize("entry", ["10.0.0.1/8", "a b", "http://x", "x:70000"])
def test_a_deny_entry_that_is_none_is_refused_by_name(entry: str) -> None:
    with pytest.raises(ConfigurationError, match="IMAGEQUEUE_EGRESS_DENY"):
        EgressPolicy.parse(deny=entry)


def test_a_public_url_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="IMAGEQUEUE_PUBLIC_URL"):
        EgressPolicy.parse(public_url="http://host:notaport")
