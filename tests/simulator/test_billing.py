"""What the log says is billed: images that are made, however they are sent, and nothing else."""

from collections.abc import Callable
from typing import Any

import pytest

from simulator.config import UpstreamConfig
from tests.simulator.conftest import Generate, foundry, model
from tests.simulator.quotas import Entries

Arm = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("fault", "billed"),
    [
        (None, 1),
        ({"kind": "compressed"}, 1),
        ({"kind": "raw_image"}, 1),
        ({"kind": "truncated_base64"}, 1),
        ({"kind": "not_an_image"}, 1),
        ({"kind": "fewer_images"}, 0),
        ({"kind": "no_data"}, 0),
        ({"kind": "status", "status": 500}, 0),
        ({"kind": "html"}, 0),
        ({"kind": "status", "stage": "before_admission"}, 0),
    ],
)
def test_an_upstream_bills_the_images_that_it_makes(
    generate: Generate, arm: Arm, entries: Entries, fault: dict[str, Any] | None, billed: int
) -> None:
    if fault:
        arm(count=1, **fault)
    generate()
    (entry,) = entries()
    assert entry["billed_images"] == billed


def test_what_is_refused_or_throttled_is_not_billed(
    generate: Generate, entries: Entries, put_upstream: Callable[[str, UpstreamConfig], None]
) -> None:
    put_upstream("once", foundry(models={"mai": model(rpm=2)}))
    for prompt in ("forbidden-content", "a fox", "a fox"):
        generate("once", prompt=prompt)
    assert [entry["billed_images"] for entry in entries(upstream="once")] == [0, 1, 0]
