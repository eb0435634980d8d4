"""Whether an account can pay for a request, asked before its input images are decoded: decoding is work.

The hold decides later, and exactly (`submit.py`): between the two, money may come and go.
"""

from __future__ import annotations

from uuid import UUID

from imagequeue.domain.errors import InsufficientBalance
from imagequeue.domain.images import ImageRequest
from imagequeue.lifecycle.submit.submission import price_usd
from imagequeue.runtime import Runtime
from imagequeue.store.jobs.idempotency import was_submitted
from imagequeue.store.money.ledger import read_wallets


def require_funds(
    runtime: Runtime, account_id: UUID, request: ImageRequest, *, repeat_of: tuple[UUID, bytes] | None
) -> None:
    """Refuse a request that its account cannot pay for now. It takes no lock.

    `repeat_of`: the API key and the fingerprint, if the client says that it repeats a submit; a repeat costs
    nothing.

    Raises:
        InsufficientBalance: as for the hold.
        DBAPIError: the database is away.
    """
    price = price_usd(runtime.catalog, request)
    with runtime.engine.begin() as connection:
        wallet = read_wallets(connection, [account_id]).get(account_id)
        if wallet is not None and wallet.available >= price:
            return
        if repeat_of is None or not was_submitted(connection, *repeat_of):
            raise InsufficientBalance
