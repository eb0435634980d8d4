"""What is refused at submit, and what is not."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagequeue.domain.errors import DestinationRefused
from imagequeue.egress.grammar import Purpose, check_destination, sole_webhook_url
from imagequeue.egress.policy import EgressPolicy
from tests.egress.corpus import Row, addresses_in, rows

POLICY = EgressPolicy.parse(public_url="https://gateway.example-self.com")
SUBMIT_URLS = [row for row in rows() if row.refused_at == "submit" and not row.text.startswith("@")]
CONNECT_URLS = [row for row in rows() if row.refused_at == "connect" and not row.text.startswith("@")]


@pytest.mark.parametrize("row", SUBMIT_URLS, ids=lambda row: ascii(row.text[:60]))
@pytest.mark.parametrize("purpose", Purpose)
def test_every_submit_row_is_refused_without_telling_an_address(row: Row, purpose: Purpose) -> None:
    with pytest.raises(DestinationRefused) as refusal:
        check_destination(row.text, POLICY, purpose)
    assert not list(addresses_in(refusal.value.message))


def test_the_sample_is_there() -> None:
    assert len(SUBMIT_URLS) > 90
    assert len(CONNECT_URLS) > 15


@pytest.mark.parametrize("row", CONNECT_URLS, ids=lambda row: row.text)
def test_connect_rows_pass_the_grammar(row: Row) -> None:
    assert check_destination(row.text, POLICY).url == row.text


@pytest.mark.parametrize(
    ("url", "host", "port", "target"),
    [
        ("https://example.com", "example.com", 443, "/"),
        ("https://example.com/", "example.com", 443, "/"),
        ("HTTPS://Example.COM/Hook", "example.com", 443, "/Hook"),
        ("https://example.com:8443/hook", "example.com", 8443, "/hook"),
        ("https://example.com:443/hook", "example.com", 443, "/hook"),
        ("https://example.com?x=1", "example.com", 443, "/?x=1"),
        ("https://xn--bcher-kva.example/hook", "xn--bcher-kva.example", 443, "/hook"),
        ("https://a.xn--p1ai/hook", "a.xn--p1ai", 443, "/hook"),
        ("https://1.2.3.4.example.com/", "1.2.3.4.example.com", 443, "/"),
        ("https://hooks.example.co.uk/a%20b?next=https%3A%2F%2Fx", "hooks.example.co.uk", 443, None),
        ("https://example.com/t/[x]?a[]=1&b={c}|d", "example.com", 443, None),
        ("https://example.com/user@host:80/x?y=a@b", "example.com", 443, None),
        ("https://localhost.example.com/", "localhost.example.com", 443, "/"),
        ("https://mylocal/".replace("mylocal", "mylocal.dev"), "mylocal.dev", 443, "/"),
        ("https://contest.com/", "contest.com", 443, "/"),
    ],
)
def test_good_urls_are_taken(url: str, host: str, port: int, target: str | None) -> None:
    destination = check_destination(url, POLICY)
    assert (destination.scheme, destination.host, destination.port) == ("https", host, port)
    assert destination.target == (target or url.split(host, 1)[1])


def test_the_longest_url_is_taken_and_one_byte_more_is_not() -> None:
    url = "https://example.com/".ljust(2048, "a")
    assert check_destination(url, POLICY).target == url.removeprefix("https://example.com")
    with pytest.raises(DestinationRefused, match="2048"):
        check_destination(url + "a", POLICY)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hook#part",
        "https://example.com#",
        "https://user:secret@example.com/",
        "https://example.com:/",
        "https://example.com:0443/",
        "https://example.com:0/",
        "https://example.com:65536/",
        "https://example.com:99999999999/",
        "https://example.com:8080/",
        "http://example.com/",
        "http://example.com:443/",
        "https://exa_mple.com/",
        "https://example.c/",
        "https://example.com-/",
        "https://a..example.com/",
        "https://.example.com/",
        "https://example.123/",
        "https://example.0x1f/",
        "https://example.1e3/",
        "https://127.0.0.0x1/",
        "https://redis-0.redis.default.svc/",
        "https://something.onion/",
        "https://LOCALHOST/",
        "https://a.LocalHost/",
        "https://[fe80::1%25eth0]/",
        "https://[::1/",
        "https://::1/",
        "https://1.1.1.1/",
        "https://[2606:4700::1111]/",
        "https://gateway.example-self.com:8443/",
        "https:example.com/",
        "https:///example.com/",
        "//example.com/",
        "",
        "https://",
        " https://example.com/",
        "https://example.com/\t",
        "https://example.com/\udcff",
        "https://ex\u00adample.com/",
        "https://" + "a." * 125 + "example.com/",
    ],
    ids=ascii,
)
def test_bad_urls_beyond_the_sample_are_refused(url: str) -> None:
    with pytest.raises(DestinationRefused):
        check_destination(url, POLICY)


def test_images_may_come_over_http_but_only_from_default_ports() -> None:
    assert check_destination("http://example.com/a.png", POLICY, Purpose.IMAGE).port == 80
    assert check_destination("https://example.com/a.png", POLICY, Purpose.IMAGE).port == 443
    for url in ("http://example.com:443/", "https://example.com:8443/", "http://example.com:8080/"):
        with pytest.raises(DestinationRefused, match="port"):
            check_destination(url, POLICY, Purpose.IMAGE)


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("http://127.0.0.1:9000/hook", "127.0.0.1:9000"),
        ("https://10.1.2.3/hook", "10.1.2.3"),
        ("http://[fd12::5]:8080/hook", "[fd12::5]:8080"),
        ("http://receiver:8080/", "receiver:8080"),
        ("https://receiver:8080/", "receiver:8080"),
        ("https://intake.corp.internal/", "intake.corp.internal"),
    ],
)
def test_the_allow_list_opens_literals_plain_http_odd_ports_and_private_names(
    url: str, authority: str
) -> None:
    policy = EgressPolicy.parse(
        allow="127.0.0.1:9000, 10.0.0.0/8, fd12::/16, receiver:8080, intake.corp.internal:443"
    )
    assert check_destination(url, policy).authority == authority
    with pytest.raises(DestinationRefused):
        check_destination(url, EgressPolicy())


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9001/",
        "http://127.1:9000/",
        "http://0x7f000001:9000/",
        "http://10.0.0.01/",
        "http://11.0.0.1/",
        "http://receiver:8081/",
        "http://receiver.:8080/",
        "http://other:8080/",
        "http://[fd12:0:0::5]:8080/",
        "http://[::ffff:10.0.0.1]/",
        "http://169.254.169.254/",
    ],
)
def test_the_allow_list_opens_nothing_else(url: str) -> None:
    policy = EgressPolicy.parse(allow="127.0.0.1:9000,10.0.0.0/8,fd12::/16,receiver:8080")
    with pytest.raises(DestinationRefused):
        check_destination(url, policy)


def test_denied_names_are_refused_with_all_below_them() -> None:
    policy = EgressPolicy.parse(deny="evil.example.com, odd.example.com:8443")
    for url in ("https://evil.example.com/", "https://a.evil.example.com/", "https://odd.example.com:8443/"):
        with pytest.raises(DestinationRefused):
            check_destination(url, policy)
    for url in ("https://notevil.example.com/", "https://example.com/", "https://odd.example.com/"):
        assert check_destination(url, policy)


def test_a_development_receiver_beside_the_api_is_taken_and_the_api_is_not() -> None:
    policy = EgressPolicy.parse(allow="127.0.0.0/8", public_url="http://127.0.0.1:8000")
    assert check_destination("http://127.0.0.1:9000/hook", policy).port == 9000
    with pytest.raises(DestinationRefused):
        check_destination("http://127.0.0.1:8000/v2/requests", policy)


def test_the_header_is_taken_once_only() -> None:
    assert sole_webhook_url([]) is None
    assert sole_webhook_url(["https://a.example.com/h?x=1,2"]) == "https://a.example.com/h?x=1,2"
    for values in (
        ["https://a.example.com/", "https://a.example.com/"],
        ["https://a/,https://b/"],
        ["x, HTTP://y"],
    ):
        with pytest.raises(DestinationRefused, match="once"):
            sole_webhook_url(values)


@given(
    st.text(max_size=40),
    st.sampled_from(["https://{}/", "https://example.com{}/", "https://{}.example.com/x"]),
)
def test_whatever_is_taken_has_a_plain_public_name(text: str, frame: str) -> None:
    try:
        destination = check_destination(frame.format(text), POLICY)
    except DestinationRefused:
        return
    assert re.fullmatch(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]", destination.host)
    assert destination.scheme == "https"
    assert destination.port in (443, 8443)
    assert re.fullmatch(r"/[\x21-\x7e]*", destination.target)
