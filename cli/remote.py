"""The client's side of the HTTP API: where it is, which key, and what its refusals say."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import httpx

from imagequeue.domain.errors import ConfigurationError, ImagequeueError

URL_VARIABLE = "IMAGEQUEUE_URL"
KEY_VARIABLE = "IMAGEQUEUE_KEY"
DEFAULT_URL = "http://127.0.0.1:8000"
_TIMEOUT_SECONDS = 30.0


class RemoteRefusal(ImagequeueError):
    """The server refused the request."""


class Remote:
    """A server and a key."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def submit(self, model: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
        """Queue a job; returns the answer with its `request_id`.

        Raises:
            RemoteRefusal: the server refused; or it does not answer.
        """
        return self._ask("POST", f"/{model}/v1/{model}-request", json=body, headers=headers)

    def status(self, request_id: str) -> dict[str, Any]:
        """The status body of a job.

        Raises:
            RemoteRefusal: the server refused; or it does not answer.
        """
        return self._ask("GET", f"/v2/requests/status/{request_id}")

    def _ask(self, method: str, path: str, **given: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, **given)
        except httpx.HTTPError as error:
            raise RemoteRefusal(f"{self._http.base_url} does not answer: {error}") from None
        if answer.is_success:
            return cast("dict[str, Any]", answer.json())
        raise RemoteRefusal(f"{answer.status_code} {_complaint(answer)}")


@contextmanager
def remote() -> Generator[Remote]:
    """The server of IMAGEQUEUE_URL, with the key of IMAGEQUEUE_KEY.

    Raises:
        ConfigurationError: there is no key.
    """
    key = os.environ.get(KEY_VARIABLE, "")
    if not key:
        raise ConfigurationError(
            f"{KEY_VARIABLE} is not set: give it an API key, such as `keys create` prints"
        )
    url = os.environ.get(URL_VARIABLE) or DEFAULT_URL
    with httpx.Client(base_url=url, headers={"api-key": key}, timeout=_TIMEOUT_SECONDS) as http:
        yield Remote(http)


def _complaint(answer: httpx.Response) -> str:
    try:
        body = answer.json()
    except ValueError:
        return answer.reason_phrase
    told = cast("dict[str, Any]", body) if isinstance(body, dict) else {}
    return f"{told.get('error', answer.reason_phrase)}: {told.get('message', '')}".rstrip(": ")
