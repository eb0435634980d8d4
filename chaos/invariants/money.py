"""Money: each job has one hold, each hold one end, and the wallets equal the ledger."""

from __future__ import annotations

from collections import Counter, defaultdict
from decimal import Decimal
from typing import Any

from chaos.evidence import Evidence, Finding, Row


def every_hold_ends_once(evidence: Evidence) -> Finding:
    """Each job has one HOLD, and each HOLD one CAPTURE or one VOID."""
    wrong = list[str]()
    for job in evidence.jobs:
        kinds = sorted(str(entry["kind"]) for entry in evidence.of("ledger", job))
        if kinds not in (["CAPTURE", "HOLD"], ["HOLD", "VOID"]):
            wrong.append(f"{job['id']} ({job['status']}): {kinds}")
    counts = Counter(str(entry["kind"]) for entry in evidence.tables["ledger"])
    return Finding("every hold ends once", counts, wrong)


def only_completed_jobs_are_charged(evidence: Evidence) -> Finding:
    """A COMPLETED job is captured once, at its price (USD); any other is not captured."""
    wrong = list[str]()
    charged = Decimal(0)
    for job in evidence.jobs:
        captured = [entry["captured"] for entry in evidence.of("ledger", job) if entry["kind"] == "CAPTURE"]
        expected = [job["price_usd"]] if job["status"] == "COMPLETED" else []
        charged += sum(captured, Decimal(0))
        if captured != expected:
            wrong.append(f"{job['id']} ({job['status']}): captured {captured}, price {job['price_usd']}")
    return Finding("only completed jobs are charged, once", {"charged USD": charged.normalize()}, wrong)


def ledger_equals_wallets(evidence: Evidence) -> Finding:
    """Of each wallet `available` is the sum of the entries, `held` the open holds, `spent` the captures."""
    entries = defaultdict[Any, list[Row]](list)
    for entry in evidence.tables["ledger"]:
        entries[entry["account_id"]].append(entry)
    wrong = list[str]()
    for wallet in evidence.tables["wallets"]:
        own = entries[wallet["account_id"]]
        ended = {entry["hold_id"] for entry in own}
        held = sum((-e["amount"] for e in own if e["kind"] == "HOLD" and e["id"] not in ended), Decimal(0))
        spent = sum((e["captured"] for e in own if e["kind"] == "CAPTURE"), Decimal(0))
        expected = (sum((e["amount"] for e in own), Decimal(0)), held, spent)
        found = (wallet["available"], wallet["held"], wallet["spent"])
        if found != expected:
            wrong.append(f"{wallet['account_id']}: wallet {found}, ledger {expected}")
    counts = {"entries": len(evidence.tables["ledger"]), "wallets": len(evidence.tables["wallets"])}
    return Finding("the ledger equals the wallets", counts, wrong)
