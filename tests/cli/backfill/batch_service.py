"""A small server of files, batches, results and images, which counts what it is asked for.

It is the contract of `/v1/files` and `/v2/batches` as far as the command line uses it; the end-to-end test
runs the same commands on the real one.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

STATES = ("total", "waiting", "queued", "completed", "failed", "unknown", "cancelled", "expired", "skipped")


@dataclass
class BatchService:
    """Serves one account. Every line of a batch is completed with `images` images at the first look.

    Those that `retried` names are so once more, behind the others.
    `refused` are prompts that fail; `outages` answers of 503 come first; `spoiled` images are served wrongly.
    """

    images: int = 1
    refused: set[str] = field(default_factory=set[str])
    outages: int = 0
    retried: list[int] = field(default_factory=list[int])
    spoiled: set[str] = field(default_factory=set[str])
    status: str = "completed"
    reasons: list[str] = field(default_factory=list[str])
    file_errors: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    url: str = ""
    files: list[bytes] = field(default_factory=list[bytes])
    keys: list[str] = field(default_factory=list[str])
    created: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    estimates: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    changes: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    looked: threading.Event = field(default_factory=threading.Event)
    downloads: Counter[str] = field(default_factory=Counter[str])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    def app(self) -> Starlette:
        batch = "/v2/batches/{batch_id}"
        return Starlette(
            routes=[
                Route("/v1/files", self.upload, methods=["POST"]),
                Route("/v2/batches", self.create, methods=["POST"]),
                Route("/v2/batches", self.list_batches),
                Route("/v2/batches/estimate", self.ask_for_estimate, methods=["POST"]),
                Route(f"{batch}/estimate", self.estimate),
                Route(batch, self.read),
                Route(batch, self.change, methods=["PATCH"]),
                Route(f"{batch}/results", self.results),
                Route(f"{batch}/errors", self.errors),
                Route(f"{batch}/{{verb}}", self.act, methods=["POST"]),
                Route("/images/{name}", self.image),
            ]
        )

    async def upload(self, request: Request) -> Response:
        async with request.form() as form:
            sent = form["file"]
            assert not isinstance(sent, str)
            self.files.append(await sent.read())
        return JSONResponse({"id": f"file-{len(self.files)}"})

    async def create(self, request: Request) -> Response:
        key = request.headers["idempotency-key"]
        if key not in self.keys:
            self.keys.append(key)
            self.created.append(await request.json())
        return JSONResponse(self._batch(), 201)

    async def ask_for_estimate(self, request: Request) -> Response:
        self.estimates.append(await request.json())
        return JSONResponse(self._estimate("validating"), 202)

    async def estimate(self, request: Request) -> Response:
        assert request.path_params["batch_id"] == "batch_2"
        return JSONResponse(self._estimate("failed" if self.file_errors else "completed"))

    async def list_batches(self, request: Request) -> Response:
        del request
        return JSONResponse({"data": [self._batch()] if self.keys else [], "next_cursor": None})

    async def read(self, request: Request) -> Response:
        del request
        self.looked.set()
        if self.outages:
            self.outages -= 1
            return JSONResponse({"error": "Service Unavailable", "message": "later"}, 503)
        return JSONResponse(self._batch())

    async def change(self, request: Request) -> Response:
        self.changes.append(await request.json())
        return JSONResponse(self._batch())

    async def act(self, request: Request) -> Response:
        verb = request.path_params["verb"]
        self.changes.append({verb: json.loads(await request.body() or b"{}")})
        self.status = {"pause": "paused", "cancel": "cancelled"}.get(verb, "in_progress")
        self.reasons = ["operator"] if verb == "pause" else []
        return JSONResponse(self._batch())

    async def errors(self, request: Request) -> Response:
        del request
        failed = [line for line in self.lines() if line["status"] == "failed"]
        group = {
            "code": "refused",
            "count": len(failed),
            "message": "no",
            "first_line": 1,
            "custom_ids": ["a"],
        }
        return JSONResponse({"data": [group] if failed else []})

    async def results(self, request: Request) -> Response:
        after, limit = (int(request.query_params[name]) for name in ("after", "limit"))
        found = self.lines()[after : after + limit]
        return PlainTextResponse("".join(json.dumps(one) + "\n" for one in found))

    async def image(self, request: Request) -> Response:
        name = request.path_params["name"]
        self.downloads[name] += 1
        self.headers.append(dict(request.headers))
        return Response(b"spoiled" if name in self.spoiled else name.encode(), media_type="image/png")

    def _estimate(self, status: str) -> dict[str, Any]:
        count = len(self.lines())
        return {
            "id": "batch_2",
            "status": status,
            "lines": count,
            "skipped": 0,
            "images": count,
            "price_usd": "0.078",
            "seconds": 90,
            "limited_by": ["eastus"],
            "errors": self.file_errors,
        }

    def lines(self) -> list[dict[str, Any]]:
        """The results of the newest file."""
        numbered = enumerate(self.files[-1].removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1)
        sent = [(number, json.loads(line)) for number, line in numbered if line.strip()]
        found = [self._result(at, number, line) for at, (number, line) in enumerate(sent, 1)]
        for number in self.retried:
            line = dict(sent)[number]
            found.append(self._result(len(found) + 1, number, line | {"body": {"prompt": "again"}}))
        return found

    def _result(self, at: int, number: int, line: dict[str, Any]) -> dict[str, Any]:
        failed = line["body"]["prompt"] in self.refused
        names = [f"{number}-{image}.png" for image in range(1, self.images + 1)]
        return {
            "cursor": at,
            "number": number,
            "custom_id": line["custom_id"],
            "request_id": f"model_{number}",
            "status": "failed" if failed else "completed",
            "images": [] if failed else [self._image(name) for name in names],
            "cost_usd": "0" if failed else "0.039",
            "error": {"code": "refused", "message": "no"} if failed else None,
        }

    def _image(self, name: str) -> dict[str, Any]:
        return {
            "url": f"{self.url}/images/{name}",
            "sha256": sha256(name.encode()).hexdigest(),
            "bytes": len(name),
            "width": 1,
            "height": 1,
            "media_type": "image/png",
        }

    def _batch(self) -> dict[str, Any]:
        lines = [] if self.file_errors else self.lines()
        failed = sum(line["status"] == "failed" for line in lines)
        counts = dict.fromkeys(STATES, 0)
        counts |= {"total": len(lines), "completed": len(lines) - failed, "failed": failed}
        part = {"bytes": 1, "bytes_validated": 1, "lines": len(lines), "errors": self.file_errors}
        return {
            "id": "batch_1",
            "status": "failed" if self.file_errors else self.status,
            "reasons": self.reasons,
            "parts": [part],
            "counts": counts,
            "running": 0,
            "images": counts["completed"],
            "speed": {"last_minute": 60, "last_fifteen_minutes": 58.5, "quota": 66.0},
            "eta_seconds": 4000,
            "why_not_faster": ["it was paused by hand"] if self.reasons else [],
            "spent_usd": "0.039",
            "held_usd": "0",
            "budget_usd": None,
            "estimate_usd": "0.078",
            "created_at": "2026-11-30T00:00:00Z",
        }
