"""What the demo orders."""

from __future__ import annotations

from cli.demo.orders import ORDERS


def test_the_orders_have_files_of_their_own() -> None:
    files = [
        order.file_name(number, ordinal)
        for number, order in enumerate(ORDERS, 1)
        for ordinal in range(1, order.images + 1)
    ]
    assert len(set(files)) == len(files) == sum(order.images for order in ORDERS)
    assert sum(order.webhook for order in ORDERS) == 1
