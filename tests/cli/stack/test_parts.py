"""The small parts of the stack, one by one."""

import socket
import stat
from pathlib import Path

import pytest

from cli.stack import environment
from cli.stack.data_directory import DataDirectory
from cli.stack.listener import listen, url_of
from cli.stack.options import Options
from cli.stack.processes import Processes
from cli.stack.readiness import beating_pids
from cli.stack.servers import port
from cli.stack.supervisor import private_file
from cli.stack.supervisor.backoff import Backoff
from cli.stack.supervisor.errors import StackError
from cli.stack.supervisor.logs import Logs


def test_backoff_restarts_at_once_then_ever_later_up_to_five_seconds() -> None:
    backoff = Backoff()
    assert [backoff.after(0.5) for _ in range(9)] == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_backoff_forgets_after_a_steady_life() -> None:
    backoff = Backoff()
    backoff.after(0.5)
    backoff.after(0.5)
    assert backoff.after(10.0) == 0.0
    assert backoff.failures == 1


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


@pytest.mark.parametrize(
    ("host", "expected"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]")]
)
def test_the_url_reaches_the_listener(host: str, expected: str) -> None:
    with listen(host, 0) as listener:
        number = listener.getsockname()[1]
        assert url_of(host, listener) == f"http://{expected}:{number}"
        socket.create_connection((expected.strip("[]"), number), 5).close()


def test_the_application_is_api_dispatcher_and_workers_by_queue(tmp_path: Path) -> None:
    made = Processes(DataDirectory(tmp_path), {"IMAGEQUEUE_X": "y"}, ["/bin/imagequeue"])
    processes = made.application(Options(api_workers=2, workers=1, concurrency=8), 7)
    assert {process.name: list(process.argv) for process in processes} == {
        "api-1": ["/bin/imagequeue", "api", "--fd", "7"],
        "api-2": ["/bin/imagequeue", "api", "--fd", "7"],
        "dispatcher": ["/bin/imagequeue", "dispatcher"],
        **{
            f"worker-{queue.replace('.', '-')}-1": [
                *("/bin/imagequeue", "worker", "--queues", queue, "--concurrency", "8")
            ]
            for queue in ("generate.interactive", "generate.backfill", "deliveries")
        },
    }
    assert [tuple(process.pass_fds) for process in processes] == [(7,), (7,), (), (), (), ()]
    assert all((process.env or {})["IMAGEQUEUE_X"] == "y" for process in processes)
    assert len({process.lock for process in processes}) == len(processes)


def test_dispatcher_and_workers_beat() -> None:
    running = [("postgres", 1), ("dispatcher", 2), ("worker-deliveries-1", 3), ("api-1", 4)]
    assert beating_pids(running) == [2, 3]


def test_the_environment_is_ours_s3s_and_the_keys_of_the_catalog() -> None:
    catalog = '[[deployments]]\nkey_env = "MY_KEY"\n[[deployments]]\nauth = "entra"\n'
    outside = {"IMAGEQUEUE_A": "1", "AWS_REGION": "2", "MY_KEY": "3", "HOME": "4"}
    assert environment.inherited(outside, catalog) == {"IMAGEQUEUE_A": "1", "AWS_REGION": "2", "MY_KEY": "3"}


@pytest.mark.parametrize(("before", "after"), [("", "a:1"), ("10.0.0.0/8", "10.0.0.0/8,a:1")])
def test_the_simulator_is_allowed_next_to_what_was(before: str, after: str) -> None:
    assert environment.with_allowed(before, "a:1") == after


@pytest.mark.parametrize("text", [None, "not = [toml"])
def test_a_catalog_that_cannot_be_read_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "mine.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(StackError, match=r"mine\.toml cannot be read"):
        environment.read_catalog(path)


def test_a_kept_text_is_made_once_and_private(tmp_path: Path) -> None:
    made = iter(["first", "second"])
    path = tmp_path / "key"
    assert [private_file.kept(path, lambda: next(made)) for _ in range(3)] == ["first"] * 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_replacement_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "key"
    private_file.replace(path, "old")
    with pytest.raises(UnicodeEncodeError):
        private_file.replace(path, "\ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_kept_port_stays_until_somebody_else_has_it(tmp_path: Path) -> None:
    first = port.kept(tmp_path / "port")
    assert port.kept(tmp_path / "port") == first
    with socket.create_server(("127.0.0.1", first)):
        assert port.kept(tmp_path / "port") != first


def test_a_free_port_is_never_lent_to_outgoing_connections() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(port.free() < lowest for _ in range(50))


def test_an_empty_data_directory_becomes_private(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with DataDirectory(tmp_path).held():
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_a_folder_with_other_things_in_it_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    tmp_path.chmod(0o755)
    with DataDirectory(tmp_path).held():
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_a_data_directory_is_held_once(tmp_path: Path) -> None:
    first, second = DataDirectory(tmp_path), DataDirectory(tmp_path)
    with first.held(), pytest.raises(StackError, match="already runs on"), second.held():
        pytest.fail("both hold it")
    with second.held():
        assert second.lock_of("api-1").parent.is_dir()
