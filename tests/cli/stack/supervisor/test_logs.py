"""The logs of the children: trimmed while they are written, their ends shown."""

from pathlib import Path

from cli.stack.supervisor.logs import Logs


def test_a_log_is_trimmed_while_it_is_written(tmp_path: Path) -> None:
    logs = Logs(tmp_path / "logs", largest_bytes=100)
    with logs.open("child") as output:
        output.write(b"x" * 101)
        logs.trim()
        output.write(b"after\n")
    assert (tmp_path / "logs" / "child.log").read_bytes() == b"after\n"
    assert (tmp_path / "logs" / "child.log.1").read_bytes() == b"x" * 101


def test_a_small_log_is_left_alone_and_its_end_is_shown(tmp_path: Path) -> None:
    logs = Logs(tmp_path / "logs", largest_bytes=10_000)
    with logs.open("child") as output:
        output.write(b"first line\n" + b"x" * 3000 + b"\nthe end\n")
    logs.trim()
    shown = logs.tail("child")
    assert shown.endswith("the end")
    assert "first line" not in shown
