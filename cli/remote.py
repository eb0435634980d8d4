"""The HTTP API as commands use it: where it is, with which key, and what its error answers say."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Generator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import quote

import httpx

from imagequeue.domain.errors import ConfigurationError, ImagequeueError

URL_VARIABLE = "IMAGEQUEUE_URL"
KEY_VARIABLE = "IMAGEQUEUE_KEY"
DEFAULT_URL = "http://127.0.0.1:8000"
_TIMEOUT_SECONDS = 30.0  # for each step of a request; the API answers or refuses within 5 s
_KEY = re.compile(r"[\x21-\x7e]+")


_NOT_NOW = frozenset({429, 502, 503, 504})
"""Statuses by which a server, or a proxy in front of it, says that it cannot answer at the moment."""


_REQUESTS = "/v2/requests"
_ENDPOINTS = "/v2/webhooks/endpoints"
_RECOVERY = frozenset({"id", "state", "redelivered", "skipped"})


class RemoteRefusal(ImagequeueError):
    """The server refused the request."""


class RemoteAway(RemoteRefusal):
    """The server does not answer at the moment, or says that it cannot."""


class Remote:
    """A server, and the key for it."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def submit(self, model: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
        """Queue a job; returns the answer with its `request_id`.

        Raises:
            RemoteRefusal: the server refused, or the URL is not that of an imagequeue.
            RemoteAway: it does not answer.
        """
        name = quote(model, safe="")
        given = {key: value.encode() for key, value in headers.items()}
        queued = self._ask("POST", f"/{name}/v1/{name}-request", json=body, headers=given)
        return self._expected(queued, {"request_id"})

    def status(self, request_id: str) -> dict[str, Any]:
        """The status body of a job.

        Raises:
            RemoteRefusal: the server refused, or the URL is not that of an imagequeue.
            RemoteAway: it does not answer.
        """
        body = self._ask("GET", f"{_REQUESTS}/status/{_quoted(request_id)}")
        return self._expected(body, {"request_id", "status", "error", "output"})

    def deliveries(self, request_id: str) -> dict[str, Any]:
        """The webhooks of a job, with their attempts.

        Raises:
            RemoteRefusal, RemoteAway: as `status`.
        """
        return self._expected(self._ask("GET", f"{_REQUESTS}/{_quoted(request_id)}/deliveries"), {"data"})

    def redeliver(self, request_id: str) -> dict[str, Any]:
        """Send the webhooks of a job again; how many as `redelivered`.

        Raises:
            RemoteRefusal, RemoteAway: as `status`.
        """
        answer = self._ask("POST", f"{_REQUESTS}/{_quoted(request_id)}/redeliver")
        return self._expected(answer, {"redelivered"})

    def recover(self, span: Mapping[str, str]) -> dict[str, Any]:
        """Begin a recovery; its `id` and counts.

        Raises:
            RemoteRefusal, RemoteAway: as `status`.
        """
        answer = self._ask("POST", "/v2/webhooks/recover", json=dict(span))
        return self._expected(answer, _RECOVERY)

    def recovery(self, recovery_id: str) -> dict[str, Any]:
        """How far a recovery has come.

        Raises:
            RemoteRefusal, RemoteAway: as `status`.
        """
        answer = self._ask("GET", f"/v2/webhooks/recoveries/{_quoted(recovery_id)}")
        return self._expected(answer, _RECOVERY)

    def webhook_endpoints(self) -> dict[str, Any]:
        """The endpoints of the account, all of them: an account has few.

        Raises:
            RemoteRefusal, RemoteAway: as `status`.
        """
        return self._expected(self._ask("GET", _ENDPOINTS, params={"limit": 100}), {"data"})

    def create_webhook_endpoint(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Make an endpoint; the answer has its `signing_secret`.

        Raises:
            RemoteRefusal, RemoteAway: as `status`.
        """
        answer = self._ask("POST", _ENDPOINTS, json=dict(fields))
        return self._expected(answer, {"id", "signing_secret"})

    def change_webhook_endpoint(self, endpoint_id: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Change some fields of an endpoint; the endpoint.

        Raises:
            RemoteRefusal, RemoteAway: as `status`.
        """
        answer = self._ask("POST", f"{_ENDPOINTS}/{_quoted(endpoint_id)}", json=dict(fields))
        return self._expected(answer, {"id", "name", "url", "event_types"})

    def delete_webhook_endpoint(self, endpoint_id: str) -> dict[str, Any]:
        """Delete an endpoint.

        Raises:
            RemoteRefusal, RemoteAway: as `status`.
        """
        return self._expected(self._ask("DELETE", f"{_ENDPOINTS}/{_quoted(endpoint_id)}"), {"deleted"})

    def test_webhook_endpoint(self, endpoint_id: str, event_type: str) -> dict[str, Any]:
        """Send a test event; what the endpoint answered as `status_code`.

        Raises:
            RemoteRefusal, RemoteAway: as `status`; the first also if it did not answer.
        """
        asked = {"event_type": event_type}
        answer = self._ask("POST", f"{_ENDPOINTS}/{_quoted(endpoint_id)}/test", json=asked)
        return self._expected(answer, {"status_code"})

    def rotate_endpoint_secret(self, endpoint_id: str, *, overlap: bool) -> dict[str, Any]:
        """Give an endpoint a new secret, as `signing_secret`; with `overlap` the old one signs for 24 hours.

        Raises:
            RemoteRefusal, RemoteAway: as `status`.
        """
        asked = {"keep_old_secret_active_for_24_hours": overlap}
        answer = self._ask("POST", f"{_ENDPOINTS}/{_quoted(endpoint_id)}/rotate_secret", json=asked)
        return self._expected(answer, {"id", "signing_secret"})

    def ask(self, method: str, path: str, names: AbstractSet[str], **given: Any) -> dict[str, Any]:
        """The answer of a route, which has at least `names`; `given` is what httpx calls body and query.

        Raises:
            RemoteRefusal, RemoteAway: as `status`.
        """
        return self._expected(self._ask(method, path, **given), names)

    def lines(self, path: str, query: Mapping[str, str | int]) -> list[dict[str, Any]]:
        """The objects of a route that answers with one a line.

        Raises:
            RemoteRefusal, RemoteAway: as `status`.
        """
        try:
            answer = self._http.get(path, params=dict(query))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise RemoteAway(f"{self._http.base_url} does not answer: {error}") from None
        if not answer.is_success:
            raise _refusal(answer)
        return [json.loads(line) for line in answer.text.split("\n") if line]

    def _ask(self, method: str, path: str, **given: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, **given)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise RemoteAway(f"{self._http.base_url} does not answer: {error}") from None
        if answer.is_success:
            return _object(answer)
        raise _refusal(answer)

    def _expected(self, body: dict[str, Any], names: AbstractSet[str]) -> dict[str, Any]:
        if not names <= body.keys():
            raise RemoteRefusal(
                f"{self._http.base_url} does not answer as imagequeue does; is {URL_VARIABLE} right?"
            )
        return body


@contextmanager
def remote() -> Generator[Remote]:
    """The server of IMAGEQUEUE_URL, with the key of IMAGEQUEUE_KEY.

    Raises:
        ConfigurationError: there is no key, or the key or the URL is not well formed.
    """
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        raise ConfigurationError(
            f"{KEY_VARIABLE} is not set: give it an API key, such as `keys create` prints"
        )
    if not _KEY.fullmatch(key):
        raise ConfigurationError(f"{KEY_VARIABLE} is not an API key: keys are plain ASCII without spaces")
    url = os.environ.get(URL_VARIABLE) or DEFAULT_URL
    try:
        http = httpx.Client(base_url=url, headers={"api-key": key}, timeout=_TIMEOUT_SECONDS)
    except httpx.InvalidURL:
        raise ConfigurationError(f"{URL_VARIABLE} is not a URL") from None
    with http:
        yield Remote(http)


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _object(answer: httpx.Response) -> dict[str, Any]:
    """The body of an answer, if it is a JSON object; otherwise an empty one."""
    try:
        body = answer.json()
    except ValueError:
        return {}
    return cast("dict[str, Any]", body) if isinstance(body, dict) else {}


def _refusal(answer: httpx.Response) -> RemoteRefusal:
    kind = RemoteAway if answer.status_code in _NOT_NOW else RemoteRefusal
    return kind(f"{answer.status_code} {_message(answer)}")


def _message(answer: httpx.Response) -> str:
    """What an envelope says: Pixazo's `error` and `message`, or OpenAI's `error` with a `message` inside."""
    body = _object(answer)
    error = body.get("error", answer.reason_phrase)
    if isinstance(error, dict):
        return str(cast("dict[str, Any]", error).get("message", answer.reason_phrase))
    return f"{error}: {body.get('message', '')}".rstrip(": ")
