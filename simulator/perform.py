"""Carries a decision out: waits, paints images and answers, or does what a fault says."""

import asyncio
import base64
import time
from dataclasses import replace
from urllib.parse import urlsplit

from simulator.call import POLICY_WORD, Call
from simulator.config import ModelConfig
from simulator.connection import Connection
from simulator.faults import Fault, FaultKind
from simulator.gate import Decision
from simulator.images import Picture, paint
from simulator.jobs import Job
from simulator.media import StoredFile
from simulator.providers.provider import Ask, JobProvider, Provider, Refusal, Success
from simulator.quota import nanoseconds
from simulator.spoiled import Spoil
from simulator.state import Simulator
from simulator.wire import Answer, html_answer, json_answer, redirect_answer, send

_LINE = 76  # characters: MIME's limit for a line of base64

_SPOILS: dict[FaultKind, Spoil] = {
    "not_an_image": "not_an_image",
    "bomb": "bomb",
    "oversized": "oversized",
}


async def perform(simulator: Simulator, decision: Decision, connection: Connection) -> None:
    """Carry a decision out; raises ClientGoneError when the client has left."""
    fault = decision.fault
    if fault is not None and fault.stage != "mid_response":
        replacement = await interrupt(fault, decision.call.upstream.provider, connection)
        if replacement is not None:
            return await send(connection, replacement)
    answer = decision.answer or await _serve(simulator, decision.call, fault, connection)
    return await send(connection, answer, fault)


async def interrupt(fault: Fault, provider: Provider, connection: Connection) -> Answer | None:
    """Apply a fault; the answer that takes the place of the true one, None if that is still to be made."""
    match fault.kind:
        case "hang":
            await connection.pause(None)
        case "reset":
            await connection.reset()
        case "delay":
            await connection.pause(fault.seconds)
        case "status":
            return status_answer(fault, provider)
        case "html":
            return html_answer(fault)
        case "redirect":
            return redirect_answer(fault)
        case _:
            pass
    return None


async def interrupt_unread(fault: Fault, provider: Provider, connection: Connection) -> Answer | None:
    """Apply a fault before the body is read; the answer, None if the body is to be read now."""
    if fault.kind in {"hang", "delay"}:
        await connection.pause_unread(None if fault.kind == "hang" else fault.seconds)
        return None
    return await interrupt(fault, provider, connection)


def status_answer(fault: Fault, provider: Provider) -> Answer:
    """The error answer of a `status` fault: with its own body, or in the provider's envelope."""
    status = fault.status or 500
    if isinstance(fault.body, str):
        return Answer(status, fault.body.encode(), {"content-type": "text/plain", **fault.headers})
    if fault.body is not None:
        return json_answer(status, fault.body, fault.headers)
    refusal = Refusal("fault", fault.message, status=status, code=fault.code)
    return provider.refuse(refusal, fault.headers)


async def _serve(simulator: Simulator, call: Call, fault: Fault | None, connection: Connection) -> Answer:
    if call.ask is None or call.model is None:
        raise RuntimeError("only a call that was understood can be served")
    config = call.upstream.config.models[call.model]
    seconds = simulator.draw_seconds(config.latency_ms)
    if fault is not None and fault.kind in {"raw_image", "url_text"}:
        await connection.pause(seconds)
        return await _without_json(simulator, call, call.ask, fault)
    if call.ask.queued:
        return _queue(simulator, call, fault, nanoseconds(seconds))
    await connection.pause(seconds)
    images = await _images(simulator, call, call.ask, fault)
    success = Success(call.ask, call.route, call.model, config, call.reference, time.time(), images)
    return call.upstream.provider.success(success)


async def _without_json(simulator: Simulator, call: Call, ask: Ask, fault: Fault) -> Answer:
    pictures = _pictures(call, ask, fault)
    if fault.kind == "url_text":
        return Answer(200, "\n".join(_published(simulator, call, fault, pictures)).encode(), {}, "text/plain")
    image = await simulator.paint_beside(lambda: paint(pictures[0]))
    return Answer(200, image, {}, pictures[0].media_type)


async def _images(simulator: Simulator, call: Call, ask: Ask, fault: Fault | None) -> list[str] | None:
    if fault is not None and fault.kind == "no_data":
        return None
    pictures = _pictures(call, ask, fault)
    if not call.upstream.provider.inline(ask):
        return _published(simulator, call, fault, pictures)
    texts = await asyncio.gather(*(_text(simulator, picture) for picture in pictures))
    kind = fault.kind if fault else None
    if kind == "line_breaks":
        return ["\n".join(text[at : at + _LINE] for at in range(0, len(text), _LINE)) for text in texts]
    return [_undecodable(text) if kind == "truncated_base64" else text for text in texts]


def _pictures(call: Call, ask: Ask, fault: Fault | None) -> list[Picture]:
    count = ask.count - (1 if fault is not None and fault.kind == "fewer_images" else 0)
    model: ModelConfig | None = call.model_config
    picture = Picture(
        text=ask.prompt,
        caption=f"{call.upstream.name}  {call.model}  {ask.size[0]} x {ask.size[1]}",
        size=ask.size,
        format=ask.format,
        texture=model.texture if model else "smooth",
        source=ask.source,
        spoil=_SPOILS.get(fault.kind) if fault else None,
    )
    return [
        replace(picture, caption=f"{picture.caption}  {number + 1}/{ask.count}") for number in range(count)
    ]


async def _text(simulator: Simulator, picture: Picture) -> str:
    return await simulator.paint_beside(lambda: base64.b64encode(paint(picture)).decode())


def _undecodable(text: str) -> str:
    # One character more than whole groups of four: no decoder can take that.
    return text[: len(text) // 8 * 4 + 1]


def _published(simulator: Simulator, call: Call, fault: Fault | None, pictures: list[Picture]) -> list[str]:
    target = replace(call.target, operation="download")
    if fault is not None and fault.kind == "truncated_base64":
        pictures = [replace(picture, spoil="truncated") for picture in pictures]
    wire = fault if fault is not None and fault.kind == "oversized" else None
    names = [simulator.media.put(StoredFile(picture, target, wire)) for picture in pictures]
    relative = fault is not None and fault.kind == "relative_url"
    redirected = fault is not None and fault.kind == "redirected_links"
    base = urlsplit(call.base_url).path if relative else call.base_url
    folder = f"moved/{fault.hops}" if fault is not None and redirected else "files"
    return [f"{base}/{folder}/{name}" for name in names]


def _queue(simulator: Simulator, call: Call, fault: Fault | None, duration_ns: int) -> Answer:
    provider = call.upstream.provider
    if not isinstance(provider, JobProvider):
        raise TypeError(f"{type(provider).__name__} has no jobs, so none of its calls can be queued")
    job = _job(simulator, call, fault, duration_ns)
    simulator.jobs.put(job)
    if call.callback_url:
        simulator.callbacks.schedule(
            job, call.callback_url, lambda: provider.polled(job, time.monotonic_ns()).body
        )
    return provider.accepted(job, call.base_url)


def _job(simulator: Simulator, call: Call, fault: Fault | None, duration_ns: int) -> Job:
    if call.ask is None or call.model is None:
        raise RuntimeError("only a call that was understood can be queued")
    kind = fault.kind if fault else None
    refused = POLICY_WORD in call.ask.prompt
    empty = kind == "no_data"
    pictures = _pictures(call, call.ask, fault)
    job = Job(
        reference=call.reference,
        upstream=call.upstream.name,
        model=call.model,
        model_id=call.reference.rpartition("_")[0],
        prompt=call.ask.prompt,
        media=None if empty else tuple(_published(simulator, call, fault, pictures)),
        media_type=pictures[0].media_type if pictures else "image/png",
        created=time.time(),
        accepted_ns=time.monotonic_ns(),
        duration_ns=duration_ns,
        stuck=kind == "job_stuck",
    )
    if kind == "job_error" and fault is not None:
        return replace(job, ending="ERROR", error=fault.message)
    if kind == "job_failed" and fault is not None:
        return replace(job, ending="FAILED", error=fault.message)
    if refused:
        return replace(job, ending="FAILED", error="The prompt violates the content policy.")
    return job
