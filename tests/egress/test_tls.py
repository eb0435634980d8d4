"""TLS: spoken to the name in the URL, verified, and within the deadline."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagequeue.domain.errors import ConfigurationError
from imagequeue.egress.client import GuardedClient
from imagequeue.egress.errors import TimedOut, TlsFailed
from imagequeue.egress.grammar import Destination, check_destination
from imagequeue.egress.policy import EgressPolicy
from imagequeue.egress.resolver import BoundedResolver
from imagequeue.egress.tls import guard_tls_context, tls_context
from tests.egress.certificates import Authority
from tests.egress.receiver import Conversation, Receiver, answering
from tests.egress.way import NAME, OK, PATIENT, QUICK, Answers, Way

pytestmark = pytest.mark.timeout(120)


def test_tls_is_spoken_to_the_name_and_verified(authority: Authority, tmp_path: Path) -> None:
    names: list[str | None] = []
    server = authority.server(tmp_path, NAME)
    server.sni_callback = lambda _sock, name, _context: names.append(name)
    with Receiver(answering(OK), tls=server) as receiver:
        way = Way(receiver.port, authority, scheme="https")
        assert way.client.post(way.destination, b"{}", {}, limits=PATIENT).body == b"ok"
        assert way.client.post(way.destination, b"{}", {}, limits=PATIENT).body == b"ok"
    assert names == [NAME, NAME]


@pytest.mark.parametrize(
    ("name", "days", "self_signed"),
    [("other.example.com", 30, False), (NAME, -1, False), (NAME, 30, True), ("*.com", 30, False)],
    ids=["wrong name", "expired", "self-signed", "wide wildcard"],
)
def test_a_bad_certificate_is_a_tls_error_that_never_sent(
    authority: Authority,
    tmp_path: Path,
    name: str,
    days: int,
    self_signed: bool,  # noqa: FBT001
) -> None:
    record: list[bytes] = []
    server = authority.server(tmp_path, name, days=days, self_signed=self_signed)
    with Receiver(answering(OK, record), tls=server) as receiver:
        way = Way(receiver.port, authority, scheme="https")
        with pytest.raises(TlsFailed) as failure:
            way.client.post(way.destination, b"{}", {}, limits=PATIENT)
    assert failure.value.code == "tls_error"
    assert failure.value.never_sent
    assert record == []


def test_an_authority_that_the_system_does_not_know_is_not_trusted(
    authority: Authority, tmp_path: Path
) -> None:
    with Receiver(answering(OK), tls=authority.server(tmp_path, NAME)) as receiver:
        policy = EgressPolicy.parse(allow=f"{NAME}:{receiver.port}")
        resolver = BoundedResolver(Answers(["127.0.0.1"]))
        client = GuardedClient(policy, user_agent="test", tls=tls_context(), resolver=resolver)
        with pytest.raises(TlsFailed):
            client.post(
                check_destination(f"https://{NAME}:{receiver.port}/", policy), b"{}", {}, limits=PATIENT
            )


def _client(receiver: Receiver, ca_file: Path | None) -> tuple[GuardedClient, Destination]:
    policy = EgressPolicy.parse(allow=f"{NAME}:{receiver.port}")
    resolver = BoundedResolver(Answers(["127.0.0.1"]))
    tls = guard_tls_context(ca_file) if ca_file else None
    client = GuardedClient(policy, user_agent="test", tls=tls, resolver=resolver)
    return client, check_destination(f"https://{NAME}:{receiver.port}/", policy)


def test_an_authority_of_the_operator_s_file_is_trusted_for_its_names_only(
    authority: Authority, tmp_path: Path
) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text(authority.pem)
    with Receiver(answering(OK), tls=authority.server(tmp_path, NAME)) as receiver:
        client, destination = _client(receiver, ca_file)
        assert client.post(destination, b"{}", {}, limits=PATIENT).status == 200
    with Receiver(answering(OK), tls=authority.server(tmp_path, "other.example.com")) as receiver:
        client, destination = _client(receiver, ca_file)
        with pytest.raises(TlsFailed):
            client.post(destination, b"{}", {}, limits=PATIENT)


def test_the_public_authorities_are_trusted_besides_those_of_the_file(
    authority: Authority, tmp_path: Path
) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text(authority.pem)
    public, both = tls_context().cert_store_stats(), guard_tls_context(ca_file).cert_store_stats()
    assert both["x509_ca"] == public["x509_ca"] + 1


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_file_without_certificates_is_refused_at_the_start(tmp_path: Path, content: str | None) -> None:
    ca_file = tmp_path / "ca.pem"
    if content is not None:
        ca_file.write_text(content)
    with pytest.raises(ConfigurationError, match="IMAGEQUEUE_EGRESS_CA_FILE"):
        guard_tls_context(ca_file)


def test_no_tls_at_all_is_a_tls_error(authority: Authority) -> None:
    def speaks_plainly(conversation: Conversation) -> None:
        conversation.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        conversation.hang()

    with Receiver(speaks_plainly) as receiver:
        way = Way(receiver.port, authority, scheme="https")
        with pytest.raises(TlsFailed):
            way.client.post(way.destination, b"{}", {}, limits=PATIENT)


@pytest.mark.parametrize("piece", [b"", b"\x16"], ids=["silent", "dripping"])
def test_a_handshake_that_does_not_end_is_a_timeout_that_never_sent(
    authority: Authority, piece: bytes
) -> None:
    def stall(conversation: Conversation) -> None:
        if piece:
            conversation.drip(b"\x16\x03\x03\x40\x00" + b"\x02\x00\x3f\xfc\x03\x03" + b"x" * 10_000)
        conversation.hang()

    with Receiver(stall) as receiver:
        way = Way(receiver.port, authority, scheme="https")
        with pytest.raises(TimedOut) as failure:
            way.client.post(way.destination, b"{}", {}, limits=QUICK)
    assert failure.value.never_sent


def test_deadlines_hold_inside_tls(authority: Authority, tmp_path: Path) -> None:
    def drips(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(b"HTTP/1.1 200 OK\r\n")
        conversation.drip_for_ever(b"X-Drip: 1\r\n")

    with Receiver(drips, tls=authority.server(tmp_path, NAME)) as receiver:
        way = Way(receiver.port, authority, scheme="https")
        with pytest.raises(TimedOut) as failure:
            way.client.post(way.destination, b"{}", {}, limits=QUICK)
    assert failure.value.sent
