"""The backfill: each line ends once, each image is paid and downloaded once, a retry asks for the rest."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from hashlib import sha256

from chaos.backfill_lines import Round
from chaos.evidence import Evidence, Finding, Row, moment_of
from chaos.upstreams import BACKFILL_MODEL, BACKFILL_PRICE

ROUNDS = 2
"""Ends of the batch: that of all lines, and that of the retry."""
OWN_FILES = frozenset({".imagequeue.json", ".imagequeue.lock", "manifest.csv"})
"""What the command keeps in a folder beside the images."""
_MAKES_IMAGES = ("generate", "edit")


def every_line_is_counted_at_the_end(evidence: Evidence) -> Finding:
    """There is one batch. At each of its ends its lines are completed or failed, and none is at the second.

    However often the command was killed: no end of it but these was anything else than "start it again".
    """
    record, total = evidence.backfill, len(evidence.backfill.prompts)
    wrong = list(record.wrong)
    if len(record.rounds) != ROUNDS or len(evidence.tables["batches"]) != 1:
        wrong.append(f"{len(record.rounds)} ends of {len(evidence.tables['batches'])} batches")
    for number, one in enumerate(record.rounds, 1):
        counts = one.batch["counts"]
        ended = counts["completed"] + (counts["failed"] if number < ROUNDS else 0)
        if one.batch["status"] != "completed" or not ended == counts["total"] == total:
            wrong.append(f"end {number}: {one.batch['status']}, {counts} of {total} lines")
    states = Counter(str(line["state"]) for line in evidence.tables["lines"])
    if states != Counter({"completed": total}):
        wrong.append(f"the lines are {dict(states)}")
    counts = {
        "lines": total,
        "kills": record.exits[-9],
        "other starts": record.exits.total() - record.exits[-9],
    }
    return Finding("a backfill ends with every line counted", counts, wrong)


def every_line_is_in_one_file(evidence: Evidence) -> Finding:
    """At each end every line stands in exactly one of the output and the error file, as the batch counts it.

    A line of the output file has an answer with an image, one of the error file an error.
    """
    wrong, sizes = list[str](), list[tuple[int, int]]()
    for number, one in enumerate(evidence.backfill.rounds, 1):
        found = Counter(str(line["custom_id"]) for line in (*one.output, *one.errors))
        wrong += [f"end {number}: {id_} stands {count} times" for id_, count in found.items() if count != 1]
        wrong += [
            f"end {number}: {id_} is missing" for id_ in evidence.backfill.prompts.keys() - found.keys()
        ]
        wrong += [f"end {number}: {complaint}" for complaint in _strange_lines(one)]
        sizes.append((len(one.output), len(one.errors)))
    if not sizes:
        wrong.append("no file was written")
    return Finding("a line is in one of output and error file", {"output and error lines": sizes}, wrong)


def _strange_lines(one: Round) -> list[str]:
    counted = (one.batch["counts"]["completed"], one.batch["counts"]["failed"])
    wrong = [
        f"{line['custom_id']} has no image" for line in one.output if line["error"] or not _image_count(line)
    ]
    wrong += [f"{line['custom_id']} has no error" for line in one.errors if not line["error"]]
    if counted != (len(one.output), len(one.errors)):
        wrong.append(f"{counted} counted, {len(one.output)} and {len(one.errors)} in the files")
    return wrong


def _image_count(line: Row) -> int:
    response: Row | None = line["response"]
    return len(response["body"].get("data", ())) if response else 0


def a_retry_calls_for_failed_lines_alone(evidence: Evidence) -> Finding:
    """By the simulator's log every call after the retry is for a line that had failed before it."""
    record, wrong = evidence.backfill, list[str]()
    if record.retried_at is None or not record.rounds:
        return Finding("a retry calls for failed lines alone", {}, ["nothing was retried"])
    custom_ids, failed = record.custom_ids, record.rounds[0].failed
    called = Counter[str]()
    for call in evidence.calls:
        custom_id = custom_ids.get(call["prompt"])
        later = moment_of(call["wall_time"]) >= record.retried_at
        if custom_id and later and call["operation"] in _MAKES_IMAGES:
            called[custom_id] += 1
    wrong += [f"{custom_id} had not failed, and was called" for custom_id in called.keys() - failed]
    wrong += [f"{custom_id} had failed, and was not called" for custom_id in failed - called.keys()]
    counts = {"failed lines": len(failed), "calls after the retry": called.total()}
    return Finding("a retry calls for failed lines alone", counts, wrong)


def a_backfill_is_charged_for_its_images_alone(evidence: Evidence) -> Finding:
    """By the ledger each line is charged once; the sum (USD) is its images' price, as the batch says."""
    record, charged, per_prompt = evidence.backfill, Decimal(0), Counter[str]()
    for job in evidence.jobs:
        if job["model_id"] != BACKFILL_MODEL:
            continue
        captured = [entry["captured"] for entry in evidence.of("ledger", job) if entry["kind"] == "CAPTURE"]
        charged += sum(captured, Decimal(0))
        per_prompt[str(job["prompt"])] += len(captured)
    images = sum(row["file"] != "" for row in record.manifest)
    wrong = [f"{prompt}: charged {count} times" for prompt, count in per_prompt.items() if count != 1]
    told = Decimal(record.rounds[-1].batch["spent_usd"]) if record.rounds else None
    if not charged == told == images * Decimal(BACKFILL_PRICE):
        wrong.append(f"USD {charged} captured, {told} told, {images} images delivered")
    counts = {"charged USD": f"{charged.normalize():f}", "images delivered": images}
    return Finding("a backfill is charged for its images alone", counts, wrong)


def the_folder_is_its_manifest(evidence: Evidence) -> Finding:
    """The folder holds the files of the manifest and none else, with their sha256, and no partial file.

    The manifest has each line once; its image is, byte for byte, the stored one of the line's completed job.
    """
    record = evidence.backfill
    images = {name: digest for name, digest in record.folder.items() if name not in OWN_FILES}
    named = {row["file"]: row["sha256"] for row in record.manifest}
    wrong = [f"{name} is not what the manifest says" for name, _ in images.items() ^ named.items()]
    rows = Counter(row["custom_id"] for row in record.manifest)
    wrong += [f"{one} has {rows[one]} rows" for one in record.prompts.keys() | rows.keys() if rows[one] != 1]
    stored = _stored_digests(evidence)
    wrong += [
        f"{row['custom_id']} has another image than its job"
        for row in record.manifest
        if stored.get(record.prompts.get(row["custom_id"], "")) != row["sha256"]
    ]
    return Finding("the folder is its manifest", {"files": len(images), "rows": len(record.manifest)}, wrong)


def _stored_digests(evidence: Evidence) -> dict[str, str]:
    """The sha256 of the stored image of each prompt's completed job."""
    return {
        str(job["prompt"]): sha256(evidence.objects.get(image["storage_key"], b"")).hexdigest()
        for job in evidence.jobs
        if job["model_id"] == BACKFILL_MODEL and job["status"] == "COMPLETED"
        for image in evidence.of("images", job)
    }
