"""The operator's lists: what they open and close, and what nothing opens."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from imagequeue.domain.errors import ConfigurationError
from imagequeue.egress.addresses import is_forbidden
from imagequeue.egress.policy import EgressPolicy

MOST_OPEN = EgressPolicy.parse(
    allow="10.0.0.0/8,100.64.0.0/10,127.0.0.0/8,172.16.0.0/12,192.168.0.0/16,198.18.0.0/15,168.0.0.0/8,192.0.0.0/8,"
    "fc00::/7,::1/128,named.example:443"
)


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


def test_behind_nat64_public_receivers_are_reached_and_denied_ones_are_not() -> None:
    """64:ff9b::5db8:d822 is 93.184.216.34 as a translator's name server tells it."""
    translated = ip_address("64:ff9b::5db8:d822")
    assert EgressPolicy.parse().admits("receiver.example", 443, translated)
    for deny in ("93.184.216.0/24", "64:ff9b::/96", "receiver.example"):
        assert not EgressPolicy.parse(deny=deny).admits("receiver.example", 443, translated)
    private = ip_address("64:ff9b::a00:1")
    assert not EgressPolicy.parse(allow="10.0.0.0/8").admits("receiver.example", 443, private)
