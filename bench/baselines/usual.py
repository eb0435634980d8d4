"""What tutorials show: `def` and `.delay()`, with results kept in Redis, so that clients can poll."""

from __future__ import annotations

import os

from celery import Celery
from celery.result import AsyncResult
from fastapi import FastAPI

from bench.baselines.noop import Order, health

REDIS_URL = os.environ.get("BENCH_REDIS_URL", "redis://127.0.0.1:6379/1")

celery = Celery("usual", broker=REDIS_URL, backend=REDIS_URL)
app = FastAPI(docs_url=None, redoc_url=None)
app.get("/healthz")(health)


@celery.task(name="usual.generate")
def generate(prompt: str, num_images: int) -> list[str]:
    """Would make the images; nobody runs it here."""
    return [prompt] * num_images


@app.post("/{model_id}/v1/{name}", status_code=202)
def submit(model_id: str, name: str, order: Order) -> dict[str, str]:
    """Queue a task."""
    del model_id, name
    task = generate.delay(order.prompt, order.num_images)
    return {"request_id": task.id, "status": "QUEUED"}


@app.get("/v2/requests/status/{request_id}")
def status(request_id: str) -> dict[str, str]:
    """What Celery knows of it."""
    return {"request_id": request_id, "status": AsyncResult(request_id, app=celery).state}
