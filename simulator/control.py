"""The routes below `/_sim`, by which a test controls the simulator: faults, log, quotas and more."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Response
from pydantic import ValidationError

from simulator.config import ModelConfig, UpstreamConfig
from simulator.faults import Fault
from simulator.foreign import ForeignRequest, ForeignTraffic
from simulator.log import Entry
from simulator.measure import densest_window, utilisation
from simulator.quota import nanoseconds
from simulator.state import Simulator

_SERVICE = "imagequeue/"
"""How the user agent of the service begins: what it sends goes to URLs that its clients have chosen."""


async def refuse_the_service(user_agent: Annotated[str, Header()] = "") -> None:
    """Refuse webhooks and fetches: the service may reach the simulator, and its clients name the path."""
    if user_agent.startswith(_SERVICE):
        raise HTTPException(403, "the service itself controls nothing")


def control_router(simulator: Simulator, foreign: ForeignTraffic) -> APIRouter:
    """All control routes for one simulator."""
    router = APIRouter(prefix="/_sim", dependencies=[Depends(refuse_the_service)])
    _add_faults(router, simulator)
    _add_foreign(router, foreign)
    _add_reading(router, simulator)
    _add_changes(router, simulator, foreign)
    return router


def _add_faults(router: APIRouter, simulator: Simulator) -> None:
    @router.post("/faults", status_code=201)
    async def arm(fault: Fault) -> dict[str, Any]:
        return simulator.faults.add(fault).as_json()

    @router.get("/faults")
    async def faults() -> dict[str, Any]:
        return {"faults": [armed.as_json() for armed in simulator.faults.all()]}

    @router.delete("/faults", status_code=204)
    async def disarm_all() -> None:
        simulator.faults.clear()

    @router.delete("/faults/{identifier}", status_code=204)
    async def disarm(identifier: int) -> None:
        if not simulator.faults.remove(identifier):
            raise HTTPException(404, f"no fault has the id {identifier}")

    _ = (arm, faults, disarm_all, disarm)


def _add_foreign(router: APIRouter, foreign: ForeignTraffic) -> None:
    @router.post("/foreign", status_code=201)
    async def start(request: ForeignRequest) -> ForeignRequest:
        try:
            foreign.start(request)
        except KeyError as error:
            raise HTTPException(404, f"unknown upstream or model, or one without a quota: {error}") from error
        return request

    @router.get("/foreign")
    async def running() -> list[ForeignRequest]:
        return foreign.running()

    @router.delete("/foreign", status_code=204)
    async def stop() -> None:
        await foreign.stop()

    _ = (start, running, stop)


def _add_reading(router: APIRouter, simulator: Simulator) -> None:
    @router.get("/log")
    async def log(
        upstream: str | None = None,
        after: int = 0,
        wait: Annotated[float, Query(ge=0, le=600)] = 0,
    ) -> Response:
        if wait:
            entries = await simulator.log.wait_after(after, upstream, wait)
        else:
            entries = simulator.log.after(after, upstream)
        last = simulator.log.last
        body = await simulator.report_beside(lambda: _log_body(last, entries))
        return Response(body, media_type="application/json")

    @router.get("/quota")
    async def quota(after: int = 0) -> dict[str, Any]:
        entries = simulator.log.after(after)
        return {"quotas": await simulator.report_beside(lambda: quota_report(simulator, entries))}

    @router.get("/config")
    async def config() -> dict[str, Any]:
        return simulator.config.model_dump(mode="json")

    _ = (log, quota, config)


def _add_changes(router: APIRouter, simulator: Simulator, foreign: ForeignTraffic) -> None:
    @router.post("/reset", status_code=204)
    async def reset() -> None:
        await foreign.stop()
        simulator.reset()

    @router.put("/upstreams/{name}")
    async def put_upstream(name: str, upstream: UpstreamConfig) -> UpstreamConfig:
        try:
            simulator.replace_upstream(name, upstream)
        except ValidationError as error:
            raise HTTPException(
                422, error.errors(include_context=False, include_url=False, include_input=False)
            ) from error
        return upstream

    _ = (reset, put_upstream)


def _log_body(last: int, entries: list[Entry]) -> str:
    # Entry by entry: one call of the encoder for all of them would block the event loop by the global lock.
    return f'{{"last":{last},"entries":[{",".join(entry.as_line() for entry in entries)}]}}'


def quota_report(simulator: Simulator, entries: list[Entry]) -> list[dict[str, Any]]:
    """For each quota, computed from these entries of the log: counts, peak and used share.

    `maximum_in_window` is the largest number admitted in any half-open window; `utilisation` is None until
    more than rpm calls were admitted.
    """
    configs: dict[str, ModelConfig] = {}
    for name, upstream in simulator.config.upstreams.items():
        configs.update(upstream.quotas(name))
    return [_report(entries, quota, config) for quota, config in configs.items()]


def _report(entries: list[Entry], quota: str, config: ModelConfig) -> dict[str, Any]:
    mine = [entry for entry in entries if entry.quota == quota]
    times = [entry.monotonic_ns for entry in mine if entry.outcome == "admitted"]
    window = nanoseconds(config.window_seconds)
    return {
        "quota": quota,
        "rpm": config.rpm,
        "window_seconds": config.window_seconds,
        "admitted": _count(mine, "admitted", foreign=False),
        "throttled": _count(mine, "throttled", foreign=False),
        "foreign_admitted": _count(mine, "admitted", foreign=True),
        "foreign_throttled": _count(mine, "throttled", foreign=True),
        "maximum_in_window": densest_window(times, window),
        "utilisation": utilisation(times, config.rpm, window),
    }


def _count(entries: list[Entry], outcome: str, *, foreign: bool) -> int:
    return sum(entry.outcome == outcome and (entry.operation == "foreign") is foreign for entry in entries)
