"""A job that failed ends the demo."""

from __future__ import annotations

import pytest

from cli.demo.errors import DemoFailed
from cli.demo.result import require_completed


def test_a_job_that_failed_ends_the_demo_with_its_reason() -> None:
    with pytest.raises(DemoFailed, match="no deployment"):
        require_completed({"request_id": "r", "status": "ERROR", "error": "no deployment", "output": None})
