"""A faultless backfill of two lines, as the checker reads it: one was refused first, and retried."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

from chaos.backfill_lines import BackfillRecord, Round
from chaos.upstreams import BACKFILL_MODEL, BACKFILL_PRICE
from tests.media.pictures import picture

PROMPTS = {"line 0": "backfill of a fox", "line 1": "backfill of a kraken"}
SERVED, REFUSED, RETRIED = (uuid4() for _ in range(3))
"""The jobs: that of the first line, and both of the second."""
ATTEMPTS = {id_: uuid4() for id_ in (SERVED, REFUSED, RETRIED)}
PRICE = Decimal(BACKFILL_PRICE)


def storage_key(job_id: UUID) -> str:
    return f"v1/model_{job_id}/{ATTEMPTS[job_id]}/output.png"


def batch(completed: int, failed: int) -> dict[str, Any]:
    counts = {"total": 2, "completed": completed, "failed": failed}
    return {"status": "completed", "counts": counts, "spent_usd": str(completed * PRICE)}


def output(custom_id: str) -> dict[str, Any]:
    response = {"status_code": 200, "body": {"data": [{"url": "http://127.0.0.1:1/output.png"}]}}
    return {"custom_id": custom_id, "response": response, "error": None}


def manifest_row(custom_id: str) -> dict[str, Any]:
    return {"custom_id": custom_id, "file": f"{custom_id}-1.png", "sha256": sha256(picture()).hexdigest()}


def backfill_record(retried_at: float) -> BackfillRecord:
    refused = {"custom_id": "line 1", "response": None, "error": {"code": "refused", "message": "no"}}
    rows = [manifest_row(custom_id) for custom_id in PROMPTS]
    own = dict.fromkeys((".imagequeue.json", ".imagequeue.lock", "manifest.csv"), "")
    return BackfillRecord(
        PROMPTS,
        rounds=[
            Round(batch(1, 1), [output("line 0")], [refused]),
            Round(batch(2, 0), [output("line 0"), output("line 1")], []),
        ],
        retried_at=retried_at,
        folder=own | {row["file"]: row["sha256"] for row in rows},
        manifest=rows,
        exits=Counter({-9: 2, 0: 2, 3: 1}),
    )


def job_of_line(id_: UUID, number: int, status: str) -> dict[str, Any]:
    prompt = PROMPTS[f"line {number}"]
    return {"id": id_, "prompt": prompt, "model_id": BACKFILL_MODEL, "price_usd": PRICE, "status": status}
