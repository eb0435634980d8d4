"""The ASGI application of one simulator."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

from simulator.config import SimulatorConfig, default_config
from simulator.control import control_router
from simulator.foreign import ForeignTraffic
from simulator.gateway import Gateway
from simulator.state import Simulator


def create_app(config: SimulatorConfig | None = None, log: Path | None = None) -> FastAPI:
    """A new simulator with the given upstreams (default: those of the demo).

    Run it under `simulator.connection.ConnectionProtocol`; under another protocol, faults that reset
    connections raise RuntimeError. The simulator's state is in `app.state.simulator`.
    """
    simulator = Simulator(config or default_config(), log)
    foreign = ForeignTraffic(simulator)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        yield
        await foreign.stop()
        await simulator.callbacks.stop()
        simulator.close()

    app = FastAPI(title="imagequeue simulator", lifespan=lifespan)
    app.state.simulator = simulator
    app.include_router(control_router(simulator, foreign))
    app.mount("/", Gateway(simulator))
    return app
