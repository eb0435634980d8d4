"""What receivers that misbehave do with a request."""

from __future__ import annotations

from tests.egress.receiver import Conversation

HEAD = b"HTTP/1.1 200 OK\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def never_answers(conversation: Conversation) -> None:
    conversation.read_request()
    conversation.hang()


def drips_body(conversation: Conversation) -> None:
    conversation.read_request()
    conversation.send(HEAD + b"Content-Length: 100000\r\n\r\n")
    conversation.drip_for_ever(b"x")


def never_ends_body(conversation: Conversation) -> None:
    conversation.read_request()
    conversation.send(HEAD + b"\r\n")
    while True:
        conversation.send(b"x" * 65536)


def never_reads(conversation: Conversation) -> None:
    conversation.hang()


def drips_head(conversation: Conversation) -> None:
    conversation.read_request()
    conversation.send(HEAD)
    conversation.drip_for_ever(b"X-Drip: 1\r\n")


def drips_single_bytes(conversation: Conversation) -> None:
    conversation.read_request()
    conversation.drip(OK, 0.5)  # 20 s: no limit of a test waits for the end of the head


def continues_for_ever(conversation: Conversation) -> None:
    conversation.read_request()
    conversation.drip_for_ever(b"HTTP/1.1 100 Continue\r\n\r\n")


def floods_with_continues(conversation: Conversation) -> None:
    conversation.read_request()
    while True:
        conversation.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


def resets_at_once(conversation: Conversation) -> None:
    conversation.reset()


def reads_and_resets(conversation: Conversation) -> None:
    conversation.read_request()
    conversation.reset()


def reads_and_closes(conversation: Conversation) -> None:
    conversation.read_request()
