"""Clients that wait: an answer is that of the client's own job, and a lost one is found by the key."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence

from chaos.evidence import Evidence, Finding, Row
from chaos.notes import Reply
from chaos.waiting_kinds import Ending, mark_of

_COUNTED = ("broken off", "silence", "hung up", "joined")


def every_client_that_waited_got_its_job(evidence: Evidence) -> Finding:
    """Who waits is answered with the end of its own job, and with that job's images.

    The job has the client's prompt and the status that the answer tells. The images are those of its rows, in
    their order: the bytes that are stored, or the URLs of the status body. A job without images has no answer
    with some.
    """
    jobs = _by_id(evidence)
    wrong, told = list[str](), Counter[str]()
    for order in evidence.orders:
        replies = evidence.notes.waits.get(order.key, [])
        ending = replies[-1].ending if replies else None
        if not order.waiting or ending is None:
            wrong += [f"{order.key} ({order.waiting}) got no answer"] if order.waiting else []
            continue
        told[ending.status] += 1
        job = jobs.get(str(replies[-1].request_id)[-36:])
        complaint = _complaint(evidence, order.prompt, job, ending)
        wrong += [f"{order.key} ({order.waiting}): {complaint}"] if complaint else []
    return Finding("a client that waited got its own job", dict(sorted(told.items())), wrong)


def _complaint(evidence: Evidence, prompt: str, job: Row | None, ending: Ending) -> str | None:
    if job is None or job["prompt"] != prompt:
        return "answered with another job, or with none that there is"
    if job["status"] != ending.status:
        return f"told {ending.status}, and the job is {job['status']}"
    if list(ending.images) != _images(evidence, job, ending):
        return f"{len(ending.images)} images that are not those of the job"
    return None


def _images(evidence: Evidence, job: Row, ending: Ending) -> list[str]:
    """The job's images in the form in which the answer has them."""
    if ending.images and not ending.images[0].startswith("sha256:"):
        output = json.loads(job["body"])["output"]
        return list(output["media_url"]) if output else []
    rows = evidence.of("images", job) if job["status"] == "COMPLETED" else []
    return [mark_of(evidence.objects.get(row["storage_key"], b"")) for row in rows]


def a_lost_answer_is_found_by_its_key(evidence: Evidence) -> Finding:
    """A client without an answer joins its job when it asks again.

    The connection broke, nothing came for too long, or the client hung up. All answers under a key name one
    job, and there is no other with the client's prompt. It has one hold. A request that was made after the
    job was says in its answer that it joined it.
    """
    jobs, per_prompt = _by_id(evidence), Counter(str(job["prompt"]) for job in evidence.jobs)
    wrong, counts = list[str](), Counter[str](dict.fromkeys(_COUNTED, 0))
    for order in evidence.orders:
        replies = evidence.notes.waits.get(order.key, [])
        if len(replies) < 2 or replies[-1].ending is None:  # noqa: PLR2004  # it asked again
            continue
        counts.update({reply.lost for reply in replies if reply.lost})
        counts["joined"] += replies[-1].joined
        job = jobs.get(str(replies[-1].request_id)[-36:])
        holds = _holds(evidence, job) if job else 0
        if per_prompt[order.prompt] != 1 or holds != 1:
            wrong.append(f"{order.key}: {per_prompt[order.prompt]} jobs, {holds} holds")
        wrong += [f"{order.key} ({order.waiting}): {complaint}" for complaint in _strangers(replies, job)]
    return Finding("a lost answer is found by its key", dict(counts), wrong)


def _holds(evidence: Evidence, job: Row) -> int:
    return sum(entry["kind"] == "HOLD" for entry in evidence.of("ledger", job))


def _strangers(replies: Sequence[Reply], job: Row | None) -> Iterator[str]:
    """What is wrong with the replies to one client that had to ask again."""
    named = {reply.request_id for reply in replies if reply.request_id}
    if len(named) != 1:
        yield f"its answers name {sorted(named)}"
    for reply in replies:
        is_repeat = job is not None and job["created"] < reply.began
        if reply.ending is not None and is_repeat and not reply.joined:
            yield "its job was there, and the answer does not say that it joined it"


def _by_id(evidence: Evidence) -> dict[str, Row]:
    return {str(job["id"]): job for job in evidence.jobs}
