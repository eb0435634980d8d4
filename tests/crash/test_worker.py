"""The real worker dies after the outcome is stored, before Celery's message is acknowledged."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from redis import Redis

from imagequeue.domain.jobs import Lane
from imagequeue.redis_server.address import read_redis_url
from imagequeue.settings import PREFIX
from imagequeue.store.attempts.calls import Doorbell
from tests.builders import MODEL, SECRET_KEY
from tests.crash.conftest import Crash, MakeCrash
from tests.eventually import eventually
from worker.app import make_app
from worker.celery_publisher import CeleryPublisher

SECONDS = 120
CATALOG = """
[[models]]
id = "{model}"
price_usd = "0.039"

[[deployments]]
name = "foundry-test"
model = "{model}"
provider = "foundry"
upstream_model = "mai-image-2-5"
endpoint = "{endpoint}"
key_env = "TEST_KEY"
rpm = 1000
guard_ms = 0
pace = false
cold_start = "fresh"
"""


def _worker(crash: Crash, folder: Path, failpoint: str = "") -> subprocess.Popen[bytes]:
    catalog = folder / "catalog.toml"
    catalog.write_text(CATALOG.format(model=MODEL, endpoint=f"{crash.place.simulator}/east"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    environment |= {
        "IMAGEQUEUE_DATABASE_URL": crash.place.database_url.replace("+psycopg", ""),
        "IMAGEQUEUE_REDIS_URL": crash.place.redis_url,
        "IMAGEQUEUE_SECRET_KEY": SECRET_KEY,
        "IMAGEQUEUE_CATALOG": str(catalog),
        "IMAGEQUEUE_STORAGE_URL": f"file://{folder}/media",
        "IMAGEQUEUE_SPILL_DIR": f"{folder}/spill",
        "IMAGEQUEUE_FAILPOINT": failpoint,
        "TEST_KEY": "upstream-key",
    }
    command = [sys.executable, "-m", "cli", "worker", "--queues", "generate.interactive"]
    process = subprocess.Popen([*command, "--concurrency", "1"], env=environment, stderr=subprocess.DEVNULL)
    crash.exits.callback(process.wait)
    crash.exits.callback(process.kill)
    return process


def _await_beat(crash: Crash, worker: subprocess.Popen[bytes]) -> None:
    eventually(lambda: crash.pipeline.rows("SELECT 1 FROM processes WHERE pid = :pid", pid=worker.pid))


def test_before_the_ack_the_redelivered_doorbell_makes_no_second_call(
    make_crash: MakeCrash, redis_url: str, tmp_path: Path
) -> None:
    crash = make_crash(redis_url=redis_url)
    doorbells = CeleryPublisher(make_app(read_redis_url(redis_url)), crash.pipeline.runtime.redis)
    crash.pipeline.dispatch.release = doorbells.attempts
    (job_id,) = crash.pipeline.submit()
    worker = _worker(crash, tmp_path, "generate.before_ack:kill")
    _await_beat(crash, worker)
    crash.pipeline.dispatch.run_once()
    assert worker.wait(SECONDS) == -signal.SIGKILL
    assert crash.pipeline.status(job_id) == "COMPLETED"
    (attempt,) = crash.pipeline.rows("SELECT id FROM attempts")
    with Redis.from_url(redis_url) as redis:  # pyright: ignore[reportUnknownMemberType]
        assert (redis.exists("unacked"), redis.llen("generate.interactive")) == (0, 0), (
            "nothing brings it back"
        )
    doorbells.attempts([Doorbell(attempt.id, Lane.INTERACTIVE)])
    second = _worker(crash, tmp_path)
    _await_beat(crash, second)
    (later,) = crash.pipeline.submit(prompt="behind it in the queue")
    crash.pipeline.dispatch.run_once()
    eventually(lambda: crash.pipeline.status(later) == "COMPLETED")
    second.terminate()
    assert second.wait(SECONDS) == 0
    assert crash.generated() == [1, 1]
    assert crash.pipeline.states(job_id) == ["SUCCEEDED"]
    assert crash.kinds() == ["HOLD", "CAPTURE"] * 2
