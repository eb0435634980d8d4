"""What receivers that misbehave do with a request."""

from __future__ import annotations

from tests.egress.receiver import Conversation

HEAD = b"HTTP/1.1 200 OK\r\n"


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
