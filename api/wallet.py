"""`GET /v2/wallet`: what the account has available, holds and has spent, and its last ledger entries."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from api.answer_models import WalletState
from api.auth import authenticate
from api.documented import documented
from api.query import query
from api.services import services_of
from imagequeue.domain.ids import request_id
from imagequeue.domain.money import plain
from imagequeue.domain.status_body import timestamp
from imagequeue.store.money.ledger import LedgerEntry, Wallet, read_wallets, recent_entries

router = APIRouter(tags=["Wallet"])

RECENT = 20
"""Ledger entries that the answer has."""


@router.get("/v2/wallet", **documented(WalletState))
async def read_wallet(request: Request) -> Response:
    """Amounts are USD, as decimal strings."""
    key = await authenticate(request)

    def read(connection: Connection) -> tuple[Wallet, list[LedgerEntry]]:
        wallet = read_wallets(connection, [key.account_id])[key.account_id]
        return wallet, recent_entries(connection, key.account_id, RECENT)

    wallet, entries = await query(services_of(request), read)
    body = {
        "available": plain(wallet.available),
        "held": plain(wallet.held),
        "spent": plain(wallet.spent),
        "entries": [_entry(entry) for entry in entries],
    }
    return Response(json.dumps(body), media_type="application/json")


def _entry(entry: LedgerEntry) -> dict[str, Any]:
    name = None
    if entry.job_id is not None and entry.model_id is not None and entry.operation is not None:
        name = request_id(entry.model_id, entry.operation, entry.job_id)
    return {
        "id": str(entry.id),
        "kind": entry.kind,
        "amount": plain(entry.amount),
        "captured": None if entry.captured is None else plain(entry.captured),
        "request_id": name,
        "created_at": timestamp(entry.created_at),
    }
