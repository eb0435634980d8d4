"""The program's own processes: how each is started."""

from pathlib import Path

from cli.stack.data_directory import DataDirectory
from cli.stack.options import Options
from cli.stack.processes import Processes


def test_the_application_is_api_dispatcher_and_workers_by_queue(tmp_path: Path) -> None:
    made = Processes(DataDirectory(tmp_path), {"IMAGEQUEUE_X": "y"}, ["/bin/imagequeue"])
    processes = made.application(Options(api_workers=2, workers=1, concurrency=8), 7, 9)
    assert {process.name: list(process.argv) for process in processes} == {
        "api-1": ["/bin/imagequeue", "api", "--fd", "7", "--after-fd", "9"],
        "api-2": ["/bin/imagequeue", "api", "--fd", "7", "--after-fd", "9"],
        "dispatcher": ["/bin/imagequeue", "dispatcher", "--after-fd", "9"],
        **{
            f"worker-{queue.replace('.', '-')}-1": [
                *("/bin/imagequeue", "worker", "--queues", queue, "--concurrency", "8", "--after-fd", "9")
            ]
            for queue in ("generate.interactive", "generate.backfill", "deliveries")
        },
        "worker-backfills": ["/bin/imagequeue", "worker", "--queues", "backfills", "--after-fd", "9"],
    }
    assert [tuple(process.pass_fds) for process in processes] == [(7, 9), (7, 9), *[(9,)] * 5]
    assert all((process.env or {})["IMAGEQUEUE_X"] == "y" for process in processes)
    assert len({process.lock for process in processes}) == len(processes)
