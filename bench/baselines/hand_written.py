"""What people write by hand: FastAPI, and one Celery task that calls the upstream, puts to S3 and posts.

It keeps nothing but Celery's message in Redis: no database, no quota, no check of the image, no repeat of a
call that failed, no money. Its own best settings are used: threads, connections that stay open, no results.
"""

from __future__ import annotations

import base64
import os
import time
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import httpx
from celery import Celery
from fastapi import FastAPI
from redis import Redis

from bench.baselines.noop import Order, health

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BEGUN = "bench:begun"
"""A list of Redis: when tasks began, in seconds of `time.monotonic`, which all processes share on Linux."""
REDIS_URL = os.environ.get("BENCH_REDIS_URL", "redis://127.0.0.1:6379/1")
COUNTERPARTS = os.environ.get("BENCH_COUNTERPARTS", "http://127.0.0.1:9")

celery = Celery("hand_written", broker=REDIS_URL)
celery.conf.update(
    task_ignore_result=True,
    worker_send_task_events=False,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
)
app = FastAPI(docs_url=None, redoc_url=None)
app.get("/healthz")(health)


@app.post("/{model_id}/v1/{name}", status_code=202)
async def submit(model_id: str, name: str, order: Order) -> dict[str, str]:
    """Queue a task."""
    del name
    request_id = f"{model_id}-{uuid4()}"
    generate.delay(request_id, order.prompt, f"{COUNTERPARTS}/hooks")
    return {"request_id": request_id, "status": "QUEUED"}


@celery.task(name="generate")
def generate(request_id: str, prompt: str, webhook_url: str) -> None:
    """Make the image, store it, tell."""
    fields = {"model": "mai", "prompt": prompt, "width": 1024, "height": 1024}
    url = f"{COUNTERPARTS}/mai/v1/images/generations"
    answer = _http().post(url, json=fields, headers={"api-key": "upstream-key"}).raise_for_status().json()
    image = base64.b64decode(answer["data"][0]["b64_json"])
    key = f"by-hand/{request_id}.png"
    _s3().put_object(Bucket="bench", Key=key, Body=image, ContentType="image/png")
    body: dict[str, Any] = {"request_id": request_id, "status": "COMPLETED", "media_url": [key]}
    _http().post(webhook_url, json=body).raise_for_status()


@celery.task(name="begin")
def begin() -> None:
    """Note when the first line of a task runs: Celery's own hop."""
    began = time.monotonic()
    _redis().rpush(BEGUN, began)


@cache
def _http() -> httpx.Client:
    return httpx.Client(trust_env=False, timeout=60, limits=httpx.Limits(max_connections=64))


@cache
def _s3() -> S3Client:
    return boto3.client("s3", endpoint_url=COUNTERPARTS)  # pyright: ignore[reportUnknownMemberType]  # stubs for S3 only


@cache
def _redis() -> Redis:
    return Redis.from_url(REDIS_URL)  # pyright: ignore[reportUnknownMemberType]
