"""Sends an answer, and applies the faults that change how it is sent."""

import base64
import gzip
import json
import sys
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import brotli

from simulator.connection import Connection
from simulator.faults import Fault
from simulator.spoiled import OVERSIZED_MARK

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_PACK: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd.compress,
}
_FILLER = b"A" * 65536
_DRIP_SECONDS = 0.05  # between two pieces of an answer that drips
_LEAD_SECONDS = 0.05  # lets the first half reach the client before the reset overtakes it
_GLANCE_SECONDS = 0.0001  # only to see whether the client is still there
_HTML = b"<!doctype html><html><head><title>Service</title></head><body><h1>Welcome</h1></body></html>"


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, complete."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    media_type: str = "application/json"


def json_answer(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer whose body is JSON."""
    return Answer(status, json.dumps(body).encode(), headers or {})


def html_answer(fault: Fault) -> Answer:
    """A page where JSON was expected."""
    return Answer(fault.status or 200, _HTML, fault.headers, "text/html; charset=utf-8")


def redirect_answer(fault: Fault) -> Answer:
    """A redirect to the fault's location."""
    headers = {**fault.headers, "location": fault.location or ""}
    return Answer(fault.status or 307, b"", headers, "text/plain")


async def send(connection: Connection, answer: Answer, fault: Fault | None = None) -> None:
    """Send the answer, changed by the fault if that concerns the sending; raises ClientGoneError."""
    kind = fault.kind if fault else None
    answer = _changed(answer, fault)
    if fault is not None and kind == "drip":
        await _drip(connection, answer, fault.bytes_per_second)
    elif fault is not None and kind == "oversized":
        await _oversized(connection, answer, fault.size_bytes)
    elif kind == "truncated_json":
        await _whole(connection, answer, answer.body[: len(answer.body) // 2])
    elif fault is not None and fault.stage == "mid_response":
        await _half(connection, answer, reset=kind == "reset")
    else:
        await _whole(connection, answer, answer.body)


def _changed(answer: Answer, fault: Fault | None) -> Answer:
    """The answer, in a form that its document does not describe if the fault says so."""
    if fault is not None and fault.kind == "compressed":
        packed = _PACK[fault.encoding](answer.body)
        return replace(answer, body=packed, headers={**answer.headers, "content-encoding": fault.encoding})
    if fault is not None and fault.kind == "one_for_array" and answer.media_type == "application/json":
        return replace(answer, body=json.dumps(_without_arrays(json.loads(answer.body))).encode())
    return answer


def _without_arrays(value: Any) -> Any:
    if isinstance(value, list):
        changed = [_without_arrays(item) for item in cast("list[Any]", value)]
        return changed[0] if len(changed) == 1 else changed
    if isinstance(value, dict):
        return {key: _without_arrays(item) for key, item in cast("dict[str, Any]", value).items()}
    return value


def _headers(answer: Answer, length: int | None) -> dict[str, str]:
    framing = {} if length is None else {"content-length": str(length)}
    return {"content-type": answer.media_type, **framing, **answer.headers}


async def _whole(connection: Connection, answer: Answer, body: bytes) -> None:
    await connection.start(answer.status, _headers(answer, len(body)))
    await connection.write(body, more=False)


async def _half(connection: Connection, answer: Answer, *, reset: bool) -> None:
    await connection.start(answer.status, _headers(answer, len(answer.body)))
    await connection.write(answer.body[: len(answer.body) // 2], more=True)
    await connection.pause(_LEAD_SECONDS if reset else None)
    await connection.reset()


async def _drip(connection: Connection, answer: Answer, bytes_per_second: int) -> None:
    await connection.start(answer.status, _headers(answer, len(answer.body)))
    step = max(1, round(bytes_per_second * _DRIP_SECONDS))
    for start in range(0, len(answer.body), step):
        await connection.write(answer.body[start : start + step], more=True)
        await connection.pause(step / bytes_per_second)
    await connection.write(b"", more=False)


async def _oversized(connection: Connection, answer: Answer, size: int) -> None:
    # Chunked, so that no Content-Length warns the client; and the body is never in memory as a whole.
    head, tail = _around_filler(answer.body)
    if tail is None:
        return await _whole(connection, answer, answer.body)
    await connection.start(answer.status, _headers(answer, None))
    await connection.write(head, more=True)
    left = max(0, size - len(head) - len(tail))
    while left > 0:
        await connection.write(_FILLER[:left], more=True)
        left -= len(_FILLER)
        await connection.pause(_GLANCE_SECONDS)
    return await connection.write(tail, more=False)


def _around_filler(body: bytes) -> tuple[bytes, bytes | None]:
    """The body before and after the filler; the second is None if the answer has no image in it."""
    for mark in (base64.b64encode(OVERSIZED_MARK), OVERSIZED_MARK):
        head, found, tail = body.partition(mark)
        if found:
            return head, tail
    return body, None
