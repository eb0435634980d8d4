"""64 edits in flight at once, each with 4 MB in and 4 MB out, stay under 400 MB (issue 5)."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import Engine

from imagequeue.domain.ids import new_id
from imagequeue.media.keys import input_key
from tests.crash.verb import Place
from tests.media.pictures import encoded
from tests.pipeline import RunningPipeline
from tests.providers.scripted import answer, read_request, scripted_server

pytestmark = pytest.mark.long

CALLS = 64
DEPLOYMENT: dict[str, Any] = {"max_in_flight": CALLS, "cold_start": "fresh", "guard_ms": 0, "pace": False}


def test_64_edits_of_4_mb_images_stay_under_400_mb(engine: Engine, database_url: str, tmp_path: Path) -> None:
    noise = Image.frombytes("RGB", (1184, 1184), os.urandom(1184 * 1184 * 3))
    png = encoded(noise, "png", compress_level=1)
    assert 3.9e6 < len(png) < 4.6e6
    made = answer(200, b'{"data": [{"b64_json": "' + base64.b64encode(png) + b'"}]}')
    everybody = Barrier(CALLS)

    def script(connection: socket.socket) -> None:
        connection.settimeout(100)
        assert len(read_request(connection)) > len(png)
        everybody.wait(60)
        connection.sendall(made)

    with (
        scripted_server(script) as url,
        RunningPipeline(engine, database_url, tmp_path, **DEPLOYMENT) as pipeline,
    ):
        pipeline.runtime.storage.put(input_key(png), png, "image/png")
        pipeline.submit(CALLS, operation="edit", input_images=(input_key(png),))
        assert pipeline.dispatch.run_once() == CALLS
        # The program takes a while to start and to prepare 64 requests, on a machine that may be busy with
        # other tests, and so long the slots may not pass: nobody can move a slot that was read.
        pipeline.execute("UPDATE attempts SET slot_at = clock_timestamp() + interval '30 s'")
        place = Place(
            database_url=database_url,
            directory=str(tmp_path),
            simulator=url,
            allow="",
            redis_url="",
            deployment=DEPLOYMENT,
            upstream="",
            process_id=str(new_id()),
        )
        ids = [str(doorbell.attempt_id) for doorbell in pipeline.rung]
        done = subprocess.run(
            [sys.executable, "-m", "tests.lifecycle.many_edits", json.dumps(asdict(place)), *ids],
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        statuses = pipeline.rows("SELECT status, count(*) FROM jobs GROUP BY status")
        assert statuses == [("COMPLETED", CALLS)], done.stdout[-3000:]
    peak_mib = int(done.stdout.splitlines()[-1])
    assert peak_mib * 1024 * 1024 < 400_000_000
