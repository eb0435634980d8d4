"""The wallet and its entries."""

from __future__ import annotations

from tests.api.service import Client


def test_the_wallet_names_the_job_of_each_entry(client: Client) -> None:
    request_id = client.generate(num_images=2).json()["request_id"]
    wallet = client.wallet()
    assert (wallet["available"], wallet["held"], wallet["spent"]) == ("9.922", "0.078", "0")
    hold, deposit = wallet["entries"]
    assert (hold["kind"], hold["amount"], hold["request_id"]) == ("HOLD", "-0.078", request_id)
    assert (deposit["kind"], deposit["amount"], deposit["request_id"]) == ("DEPOSIT", "10", None)
