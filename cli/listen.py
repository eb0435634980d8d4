"""`imagequeue listen`: a receiver of webhooks on this machine that verifies them and prints what came."""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Annotated, Any

import typer
from standardwebhooks import Webhook, WebhookVerificationError

from cli.errors import reported
from cli.output import notices, print_json
from imagequeue.domain.errors import InvalidRequest

LARGEST_BODY_BYTES = 1024 * 1024
"""Of a webhook: a status body has a few kilobytes."""

REMEMBERED = 10_000
"""Ids of webhooks by which a repetition is found: more than anybody reads on a terminal."""

CONNECTION_SECONDS = 15
"""After so long a connection that says nothing is closed; a delivery attempt takes no longer."""

UNAUTHORIZED = 401

_SECRET = re.compile(r"whsec_[A-Za-z0-9+/]{20,}={0,2}")


@dataclass(frozen=True, slots=True)
class ReceivedWebhook:
    """What came: `verified` is None where no secret was given to verify it with."""

    webhook_id: str
    attempt: str
    verified: bool | None
    repeated: bool
    body: str

    def record(self) -> dict[str, Any]:
        """For programs. The body is an object where it is JSON."""
        try:
            body = json.loads(self.body)
        except ValueError:
            body = self.body
        return {
            "webhook_id": self.webhook_id,
            "attempt": self.attempt,
            "verified": self.verified,
            "repeated": self.repeated,
            "body": body,
        }

    def line(self) -> str:
        """For people. What a stranger sent is shown as ASCII, because a terminal obeys other characters."""
        verdict = {True: "verified", False: "WRONG SIGNATURE", None: "not verified"}[self.verified]
        repeated = "  repeated" if self.repeated else ""
        said = json.dumps(self.record()["body"], separators=(",", ":"))
        return f"{verdict}{repeated}  {ascii(self.webhook_id)[1:-1]}  {said}"


@dataclass(slots=True)
class Listening:
    """Verifies webhooks against secrets, any of which may have signed, and knows what came before."""

    secrets: Sequence[str]
    _seen: OrderedDict[str, None] = field(default_factory=OrderedDict[str, None])

    def take(self, headers: Mapping[str, str], body: bytes) -> ReceivedWebhook:
        """Judge one request; `headers` have small letters."""
        webhook_id = headers.get("webhook-id", "")
        verified = any(_signed(secret, headers, body) for secret in self.secrets) if self.secrets else None
        repeated = verified is not False and webhook_id in self._seen
        if verified is not False:
            self._seen[webhook_id] = None
            while len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
        text = body.decode("utf-8", "replace")
        return ReceivedWebhook(webhook_id, headers.get("x-webhook-attempt", ""), verified, repeated, text)


@reported
def listen(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port.")] = 8765,
    secret: Annotated[
        list[str] | None,
        typer.Option(envvar="WEBHOOK_SECRET", help="whsec_...; several: each may have signed."),
    ] = None,
    status: Annotated[int, typer.Option(min=200, max=599, help="What to answer, to see retries.")] = 204,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one webhook a line.")] = False,
) -> None:
    """Receive webhooks on this machine, verify and print them, until Ctrl-C."""
    server = listening_server((host, port), Listening(checked(secret or [])), status, as_json=as_json)
    with server:
        notices.print(f"listening on http://{host}:{server.server_port}/", highlight=False)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            notices.print("stopped")


def checked(secrets: Sequence[str]) -> Sequence[str]:
    """The secrets, if they can be ones.

    Raises:
        InvalidRequest: one has not the form of a secret. It is not repeated here.
    """
    for secret in secrets:
        if not _SECRET.fullmatch(secret):
            raise InvalidRequest("--secret: a webhook secret is whsec_ and base64")
    return secrets


def listening_server(
    address: tuple[str, int], listening: Listening, status: int, *, as_json: bool
) -> ThreadingHTTPServer:
    """A server that answers `status` to what it verified and 401 to what it did not."""

    class Handler(BaseHTTPRequestHandler):
        timeout = CONNECTION_SECONDS

        def do_POST(self) -> None:  # http.server calls it by this name
            length = self.headers.get("content-length", "")
            size = int(length) if length.isascii() and length.isdecimal() else -1
            if not 0 <= size <= LARGEST_BODY_BYTES:
                self.send_error(413 if size > 0 else 411)
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            received = listening.take(headers, self.rfile.read(size))
            self.send_response(UNAUTHORIZED if received.verified is False else status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            _print(received, as_json=as_json)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Log nothing: what came is printed."""

    return ThreadingHTTPServer(address, Handler)


def _print(received: ReceivedWebhook, *, as_json: bool) -> None:
    if as_json:
        print_json(received.record())
    else:
        typer.echo(received.line())


def _signed(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    try:
        Webhook(secret).verify(body, dict(headers))
    except (WebhookVerificationError, ValueError):
        return False
    return True
