"""Pixazo: submit to `/{model}/v1/{model}-request`, poll `/v2/requests/status/{id}`, download by URL."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field
from starlette.datastructures import Headers

from simulator.config import UpstreamConfig
from simulator.content import Content
from simulator.images import MEDIA_TYPES, Format, InputImage
from simulator.jobs import Job
from simulator.providers.inputs import read_data_url
from simulator.providers.provider import (
    Ask,
    Failure,
    Fields,
    InvalidAskError,
    JobProvider,
    Reason,
    Route,
    Success,
    checked,
    phrase,
)
from simulator.quota import NANOSECONDS
from simulator.shapes import ratio_size, scaled
from simulator.wire import Answer, json_answer

_SUBMIT = re.compile(r"/([A-Za-z0-9._-]+)/v1/([A-Za-z0-9._-]+)-request")
_STATUS = re.compile(r"/v2/requests/status/([A-Za-z0-9._-]+)")
_PRINTABLE = re.compile(r"[!-~]+")
_EDIT = "-edit"

Prompt = Annotated[str, Field(min_length=3, max_length=5000)]
Count = Annotated[int, Field(ge=1, le=4)]


class _Generation(Fields):
    prompt: Prompt
    num_images: Count = 1
    aspect_ratio: Literal["auto", "21:9", "16:9", "3:2", "4:3", "5:4", "1:1", "4:5", "3:4", "2:3", "9:16"] = (
        "auto"
    )
    output_format: Format = "png"
    sync_mode: bool = False


class _Edit(Fields):
    prompt: Prompt
    image_urls: Annotated[list[str], Field(min_length=1, max_length=1)]
    num_images: Count = 1
    aspect_ratio: Literal["auto", "1:1", "4:3", "3:4", "16:9", "9:16", "3:2", "2:3"] = "auto"
    output_format: Format = "png"
    sync_mode: bool = False


class Pixazo(JobProvider):
    """Queues every call but those in `sync_mode`, which wait and get data URIs.

    A prompt against the content policy is accepted, and its job ends FAILED, because the model gets it only
    after the submit; in `sync_mode` it is a 400. Of an http(s) image only the URL is checked; it is not
    fetched. The final status body is posted to `X-Webhook-URL` (`simulator/callbacks.py`).
    """

    table: ClassVar[Mapping[Reason, tuple[int, str]]] = {
        "unauthorized": (401, "Unauthorized"),
        "unknown_route": (404, "Not Found"),
        "unknown_model": (400, "Model not found"),
        "unsupported": (400, "Model not found"),
        "unreadable": (400, "Bad Request"),
        "too_large": (413, "Payload Too Large"),
        "invalid": (400, "Bad Request"),
        "policy": (400, "Content Policy Violation"),
        "throttled": (429, "Too Many Requests"),
    }

    def route(self, method: str, path: str) -> Route | None:
        """The path names the model, twice; an edit appends `-edit` to it."""
        status = _STATUS.fullmatch(path)
        if method == "GET" and status:
            return Route("poll", body="none", reference=status.group(1))
        submit = _SUBMIT.fullmatch(path)
        if method != "POST" or submit is None or submit.group(1) != submit.group(2):
            return None
        name = submit.group(1)
        if name.endswith(_EDIT):
            return Route("edit", model=name.removesuffix(_EDIT))
        return Route("generate", model=name)

    def authorized(self, headers: Headers, upstream: UpstreamConfig) -> bool:
        return headers.get("ocp-apim-subscription-key") in upstream.keys

    def read(self, route: Route, content: Content) -> Ask:
        """Prompts of 3 to 5000 characters, 1 to 4 images, ratios; an edit has exactly one image."""
        if route.operation == "edit":
            edit = checked(_Edit, content.fields)
            source = _source(edit.image_urls[0])
            auto = scaled(source.size) if source else ratio_size("auto")
            return _ask(edit, auto, source)
        return _ask(checked(_Generation, content.fields), ratio_size("auto"), None)

    def callback_url(self, headers: Headers) -> str | None:
        """`X-Webhook-URL`: an http(s) URL."""
        given = headers.getlist("x-webhook-url")
        if len(given) > 1 or not all(_is_url(url) for url in given):
            raise InvalidAskError("X-Webhook-URL: must be one http(s) URL", "X-Webhook-URL")
        return given[0] if given else None

    def accepted(self, job: Job, base_url: str) -> Answer:
        """202 with the id and where to poll."""
        url = f"{base_url}/v2/requests/status/{job.reference}"
        return json_answer(202, {"request_id": job.reference, "status": "QUEUED", "polling_url": url})

    def polled(self, job: Job, now_ns: int) -> Answer:
        status = job.status(now_ns)
        final = status not in {"QUEUED", "PROCESSING"}
        ended = job.created + job.duration_ns / NANOSECONDS
        body: dict[str, Any] = {
            "request_id": job.reference,
            "status": status,
            "model_id": job.model_id,
            "error": job.error if final else None,
            "output": None,
            "created_at": _moment(job.created),
            "updated_at": _moment(ended if final else job.created),
            "completed_at": _moment(ended) if final else None,
        }
        if status == "COMPLETED" and job.media is not None:
            body["output"] = {"media_url": list(job.media), "media_type": job.media_type}
        return json_answer(200, body)

    def success(self, success: Success) -> Answer:
        """The final status body at once, with data URIs (`sync_mode`)."""
        kind = MEDIA_TYPES[success.ask.format]
        output = None
        if success.images is not None:
            media = [f"data:{kind};base64,{image}" for image in success.images]
            output = {"media_url": media, "media_type": kind}
        now = _moment(success.created)
        body: dict[str, Any] = {
            "request_id": success.reference,
            "status": "COMPLETED",
            "model_id": success.reference.rpartition("_")[0],
            "error": None,
            "output": output,
            "created_at": now,
            "updated_at": now,
            "completed_at": now,
        }
        return json_answer(200, body)

    def status_name(self, status: int) -> str:
        """The standard phrase; the document has its own for 402."""
        return "Insufficient Balance" if status == HTTPStatus.PAYMENT_REQUIRED else phrase(status)

    def envelope(self, error: Failure) -> dict[str, Any]:
        """`{"error", "message"}`."""
        if error.refusal.reason in {"unknown_model", "unsupported"}:
            message = f"Model '{error.refusal.subject}' not found or is disabled"
            return {"error": error.code, "message": message}
        return {"error": error.code, "message": error.refusal.message}


def _ask(fields: _Generation | _Edit, auto: tuple[int, int], source: InputImage | None) -> Ask:
    size = auto if fields.aspect_ratio == "auto" else ratio_size(fields.aspect_ratio)
    queued = not fields.sync_mode
    return Ask(fields.prompt, fields.num_images, size, fields.output_format, source, queued)


def _source(url: str) -> InputImage | None:
    if url.lower().startswith("data:"):
        return read_data_url(url, "image_urls")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InvalidAskError("image_urls: must be an http(s) or a data URL", "image_urls")
    return None


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    right = parts.scheme in {"http", "https"} and bool(parts.hostname) and port != 0
    return right and _PRINTABLE.fullmatch(text) is not None


def _moment(unix: float) -> str:
    text = datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
