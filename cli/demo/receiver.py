"""The demo's receiver of webhooks: an HTTP server on loopback that checks their signatures."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

from cli.demo.deadline import DemoDeadline
from cli.demo.errors import DemoFailed

PATH = "/webhooks"
LARGEST_BODY_BYTES = 1024 * 1024
"""Of a webhook: a status body has a few kilobytes."""


class Receiver:
    """Takes webhooks on `address` (host:port)."""

    def __init__(self) -> None:
        self._arrived: queue.SimpleQueue[tuple[Mapping[str, str], bytes]] = queue.SimpleQueue()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self._arrived))
        self.address = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.address}{PATH}"

    @contextmanager
    def open(self) -> Generator[Receiver]:
        """Listen until the context ends."""
        thread = threading.Thread(target=self._server.serve_forever, name="receiver")
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def webhook(self, secret: str, deadline: DemoDeadline) -> tuple[str, bytes]:
        """Wait for a webhook and check its signature; its `webhook-id` and its body.

        Raises:
            DemoFailed: none came in time, or it was not signed with `secret`.
        """
        try:
            headers, body = self._arrived.get(timeout=deadline.left("the webhook"))
        except queue.Empty:
            raise DemoFailed("The webhook did not come in time") from None
        try:
            Webhook(secret).verify(body.decode(), dict(headers))
        except WebhookVerificationError as refused:
            raise DemoFailed(f"The webhook's signature is wrong: {refused}") from None
        return headers["webhook-id"], body


def _handler(arrived: queue.SimpleQueue[tuple[Mapping[str, str], bytes]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # http.server calls it by this name
            size = min(int(self.headers.get("content-length", 0)), LARGEST_BODY_BYTES)
            body = self.rfile.read(size)
            self.send_response(204)
            self.end_headers()
            arrived.put(({name.lower(): value for name, value in self.headers.items()}, body))

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Log nothing: the demo prints what has arrived."""

    return Handler
