"""What the demo says of its stack when that has failed."""

from __future__ import annotations

from pathlib import Path

from cli.demo.stack import log_tails


def test_the_tails_are_those_of_every_log(tmp_path: Path) -> None:
    assert "no process" in log_tails(tmp_path)
    (tmp_path / "up.log").write_text("imagequeue: stopping\n")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "api-1.log").write_text("first\n" * 1000 + "the reason\n")
    (tmp_path / "logs" / "redis.log").touch()
    words = log_tails(tmp_path)
    assert words.startswith("--- up.log\nimagequeue: stopping\n--- api-1.log\n")
    assert words.endswith("the reason")
