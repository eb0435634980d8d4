"""The bare routes: FastAPI that checks a submit and stores nothing, and a constant for a poll."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import uuid4

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

app = FastAPI(docs_url=None, redoc_url=None)


class Order(BaseModel):
    """The fields of Pixazo's document."""

    model_config = ConfigDict(extra="forbid")

    prompt: Annotated[str, Field(min_length=3, max_length=5000)]
    num_images: Annotated[int, Field(ge=1, le=4)] = 1
    output_format: Literal["png", "jpeg", "webp"] = "png"
    aspect_ratio: Literal["auto", "21:9", "16:9", "3:2", "4:3", "5:4", "1:1", "4:5", "3:4", "2:3", "9:16"] = (
        "auto"
    )
    sync_mode: bool = False


@app.get("/healthz")
async def health() -> dict[str, str]:
    """Whether it listens."""
    return {"status": "ok"}


@app.post("/{model_id}/v1/{name}", status_code=202)
async def submit(model_id: str, name: str, order: Order) -> dict[str, str]:
    """What a submit is answered, without a job."""
    del order, name
    request_id = f"{model_id}-{uuid4()}"
    url = f"http://127.0.0.1:8000/v2/requests/status/{request_id}"
    return {"request_id": request_id, "status": "QUEUED", "polling_url": url}


@app.get("/v2/requests/status/{request_id}")
async def status(request_id: str) -> dict[str, Any]:
    """The status body of a completed job with one image."""
    return {
        "request_id": request_id,
        "status": "COMPLETED",
        "model_id": "microsoft-mai-image-2-5",
        "error": None,
        "output": {
            "media_url": [f"http://127.0.0.1:8000/media/{request_id}/0.png?token=0123456789abcdef0123456789"],
            "media_type": "image/png",
        },
        "created_at": "2026-03-31T10:00:00.000Z",
        "updated_at": "2026-03-31T10:00:15.000Z",
        "completed_at": "2026-03-31T10:00:15.000Z",
    }
