"""The real worker offers no slots while its storage takes nothing, and offers them again by itself."""

from __future__ import annotations

import time
from pathlib import Path

from sqlalchemy import Engine, text

from tests.worker.running import PATIENCE, SLOTS, running_worker


def _await_slots(engine: Engine, expected: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        with engine.connect() as connection:
            slots = connection.execute(text("SELECT slots FROM processes WHERE beat > 0")).scalar()
        if slots == expected:
            return
        assert time.monotonic() < deadline, f"{slots} slots"
        time.sleep(0.05)


def test_a_worker_whose_storage_is_unusable_offers_no_slots_until_a_write_succeeds(
    engine: Engine, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    (tmp_path / "media").write_text("not a directory")
    with running_worker(database_url, redis_url, tmp_path):
        _await_slots(engine, 0)
        (tmp_path / "media").unlink()
        _await_slots(engine, SLOTS)
