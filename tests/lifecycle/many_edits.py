"""A program: answers all the attempts on its command line at once; prints its peak memory in MiB.

`python -m tests.lifecycle.many_edits PLACE ATTEMPT_ID...`: the real verb in as many threads, as in a worker.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from tests.crash.verb import Place
from tests.providers.many_calls import peak_mib


def main(place: str, *attempt_ids: str) -> None:
    """Answer and print the peak."""
    pipeline = Place(**json.loads(place)).pipeline()
    with ThreadPoolExecutor(len(attempt_ids)) as pool:
        for answered in [pool.submit(pipeline.generation.run, UUID(id_)) for id_ in attempt_ids]:
            answered.result()
    print(peak_mib())  # noqa: T201  # its whole output


if __name__ == "__main__":
    main(*sys.argv[1:])
