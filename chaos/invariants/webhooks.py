"""Webhooks: every final job told its receiver the bytes of its status body, under one id."""

from __future__ import annotations

from collections import defaultdict
from urllib.parse import urlsplit

from chaos.evidence import Evidence, Finding
from chaos.receiver import Receipt


def _by_path(evidence: Evidence) -> dict[str, list[Receipt]]:
    found = defaultdict[str, list[Receipt]](list)
    for receipt in evidence.receipts:
        found[receipt.path].append(receipt)
    return found


def every_final_job_told_its_receiver(evidence: Evidence) -> Finding:
    """The receiver took a webhook of each final job that asked for one; its body is the final status body."""
    receipts, wrong, asked = _by_path(evidence), list[str](), 0
    for job in evidence.jobs:
        if not job["webhook_url"] or job["finished"] is None:
            continue
        asked += 1
        came = receipts.get(urlsplit(str(job["webhook_url"])).path, [])
        if not any(receipt.taken for receipt in came):
            wrong.append(f"{job['id']}: {len(came)} webhooks came, none was taken")
        wrong += [f"{job['id']}: another body" for receipt in came if receipt.body != job["body"]]
    counts = {"asked for": asked, "came": len(evidence.receipts)}
    return Finding("every final job told its receiver", counts, wrong)


def one_webhook_id_for_a_job(evidence: Evidence) -> Finding:
    """All webhooks of a job have one id, so that its receiver can tell a repeat; there is one delivery."""
    wrong, repeated = list[str](), 0
    for path, came in _by_path(evidence).items():
        ids = {receipt.webhook_id for receipt in came}
        repeated += len(came) > 1
        if len(ids) != 1:
            wrong.append(f"{path}: {sorted(ids)}")
    for job in evidence.jobs:
        rows = evidence.of("deliveries", job)
        if len(rows) != bool(job["webhook_url"] and job["finished"] is not None):
            wrong.append(f"{job['id']}: {len(rows)} deliveries")
    return Finding("one webhook-id for a job", {"told more than once": repeated}, wrong)
