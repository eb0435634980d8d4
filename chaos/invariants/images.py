"""Images: those of COMPLETED jobs are in the storage, and what is in the storage has an attempt."""

from __future__ import annotations

import io
from uuid import UUID

from PIL import Image

from chaos.evidence import Evidence, Finding, Row


def every_completed_job_has_its_images(evidence: Evidence) -> Finding:
    """A COMPLETED job has as many images as were asked for; each is stored, and decodes at its size."""
    wrong, decoded = list[str](), 0
    for job in evidence.jobs:
        rows = evidence.of("images", job) if job["status"] == "COMPLETED" else []
        ordinals = [row["ordinal"] for row in rows]
        if job["status"] == "COMPLETED" and ordinals != list(range(1, job["image_count"] + 1)):
            wrong.append(f"{job['id']}: ordinals {ordinals} of {job['image_count']}")
        for row in rows:
            complaint = _complaint(evidence, row)
            decoded += complaint is None
            wrong += [complaint] if complaint else []
    return Finding("every completed job's images exist and decode", {"decoded": decoded}, wrong)


def _complaint(evidence: Evidence, row: Row) -> str | None:
    content = evidence.objects.get(row["storage_key"])
    if content is None:
        return f"{row['storage_key']} is not in the storage"
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            size = image.size
    except (OSError, SyntaxError) as error:
        return f"{row['storage_key']} does not decode: {error}"
    return None if size == (row["width"], row["height"]) else f"{row['storage_key']} has another size"


def every_paid_image_has_its_record(evidence: Evidence) -> Finding:
    """Every stored image belongs to an attempt that succeeded, or whose outcome is on record as unknown."""
    states = {attempt["id"]: str(attempt["state"]) for attempt in evidence.tables["attempts"]}
    outputs = [key for key in evidence.objects if key.startswith("v1/")]
    used = {row["storage_key"] for row in evidence.tables["images"]}
    wrong, duplicates = list[str](), 0
    for key in outputs:
        state = states.get(UUID(key.split("/")[2]))
        if state not in ("SUCCEEDED", "UNKNOWN", "LOST"):
            wrong.append(f"{key}: its attempt is {state}")
        duplicates += key not in used
    counts = {"stored": len(outputs), "not needed any more": duplicates}
    return Finding("every paid image has its record", counts, wrong)
