"""A worker without Celery: answers the attempt ids on its standard input, each in a thread of its own."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from uuid import UUID

from imagequeue.domain.ids import new_id
from imagequeue.runtime import open_database
from imagequeue.settings import load_settings
from tests import builders, fleet
from tests.pipeline import Pipeline


def main() -> None:
    """Say that it is ready, then answer."""
    url, deployment, directory = sys.argv[1:]
    settings = load_settings()
    engine = open_database(settings, pool_size=8, name="lone worker")
    runtime = builders.runtime(
        engine,
        settings.database_url.get_secret_value(),
        of=fleet.catalog(url, {"east": json.loads(deployment)}),
        storage_url=settings.storage_url,
        spill_dir=settings.spill_dir,
        egress_allow=settings.egress_allow,
    )
    answering = Pipeline(runtime, None, Path(directory), new_id())  # type: ignore[arg-type]  # it asks none
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        threading.Thread(target=answering.generation.run, args=(UUID(line.strip()),)).start()


if __name__ == "__main__":
    main()
