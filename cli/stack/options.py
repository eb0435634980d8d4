"""What the user of `up` can choose."""

from dataclasses import dataclass
from pathlib import Path

SIMULATOR_RPM = 600
"""Calls a minute that the simulator takes by default, which `up` uses."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of `imagequeue up` (docs/design/contract.md, "Commands").

    Attributes:
        host: the address on which the API listens.
        port: the port on which the API listens; 0 takes a free one.
        data_dir: the folder for everything that the stack stores.
        catalog: None for `IMAGEQUEUE_CATALOG`, and without that the built-in catalog and the simulator.
        api_workers: how many api processes.
        workers: how many worker processes for each queue.
        concurrency: how many calls each worker process makes at a time.
        simulator_rpm: calls a minute that the built-in catalog gives each deployment at the simulator.
        stop_timeout: seconds until what still runs is ended by force.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    data_dir: Path = Path(".imagequeue")
    catalog: Path | None = None
    api_workers: int = 1
    workers: int = 1
    concurrency: int = 64
    simulator_rpm: int = SIMULATOR_RPM
    stop_timeout: float = 15.0
