"""What came of one order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cli.demo.errors import DemoFailed
from cli.demo.orders import Order

FINAL = ("COMPLETED", "FAILED", "ERROR")


@dataclass(frozen=True)
class Result:
    """A completed order.

    Attributes:
        order: what was asked for.
        body: the final status body.
        files: the images' files, in order, with width and height.
        deployments: which deployment made each image.
    """

    order: Order
    body: dict[str, Any]
    files: Mapping[str, tuple[int, int]]
    deployments: Sequence[str]

    def rows(self) -> Iterator[tuple[str, ...]]:
        """The cells of the table, a row for each image."""
        announced = "webhook" if self.order.webhook else "polling"
        for (name, (width, height)), deployment in zip(self.files.items(), self.deployments, strict=True):
            yield (name, f"{width} x {height}", deployment, f"{seconds(self.body):.1f}", announced)


def require_completed(body: dict[str, Any]) -> list[str]:
    """The media URLs of a final status body.

    Raises:
        DemoFailed: the job is not COMPLETED; the message has its error.
    """
    if body["status"] != "COMPLETED":
        raise DemoFailed(f"{body['request_id']} ended as {body['status']}: {body['error']}")
    urls: list[str] = body["output"]["media_url"]
    return urls


def seconds(body: dict[str, Any]) -> float:
    """Seconds from the submit to the final status."""
    created, completed = (datetime.fromisoformat(body[name]) for name in ("created_at", "completed_at"))
    return (completed - created).total_seconds()
