"""A simulator on a free port, and a client for it."""

import base64
import io
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from simulator.config import ModelConfig, SimulatorConfig, UpstreamConfig
from tests.loopback import NO_TLS
from tests.servers import SimulatorThread

KEY = "the-key"
QUICK = {"latency_ms": (0, 0), "rpm": 1000}


def model(**changes: Any) -> ModelConfig:
    """A model without latency."""
    return ModelConfig.model_validate({**QUICK, **changes})


def foundry(**changes: Any) -> UpstreamConfig:
    """A Foundry upstream with one deployment that edits and one that does not."""
    models = {"mai": model(), "mai-2e": model(operations=["generate"])}
    settings = {"provider": "foundry", "keys": [KEY], "entra_tokens": ["token"], "models": models}
    return UpstreamConfig.model_validate({**settings, **changes})


def one_model(provider: str, name: str, **changes: Any) -> UpstreamConfig:
    """An upstream with a single model."""
    return UpstreamConfig.model_validate(
        {"provider": provider, "keys": [KEY], "models": {name: model(**changes)}}
    )


UPSTREAMS = {
    "east": foundry(),
    "tight": foundry(models={"mai": model(rpm=2, window_seconds=30)}),
}


@pytest.fixture(scope="package")
def shared_simulator() -> Iterator[SimulatorThread]:
    """One server for all tests: starting and stopping one takes longer than most of them."""
    with SimulatorThread(SimulatorConfig(upstreams=UPSTREAMS)) as server:
        yield server


@pytest.fixture(scope="package")
def shared_client(shared_simulator: SimulatorThread) -> Iterator[httpx.Client]:
    """One client likewise: making one reads all certificates of the machine."""
    with httpx.Client(base_url=shared_simulator.url, trust_env=False, timeout=120, verify=NO_TLS) as client:
        yield client


@pytest.fixture
def simulator(shared_simulator: SimulatorThread, shared_client: httpx.Client) -> SimulatorThread:
    """The server, with its first upstreams as they were and nothing else in it."""
    for name, upstream in UPSTREAMS.items():
        settings = upstream.model_dump(mode="json")
        shared_client.put(f"/_sim/upstreams/{name}", json=settings).raise_for_status()
    shared_client.post("/_sim/reset").raise_for_status()
    return shared_simulator


@pytest.fixture
def client(simulator: SimulatorThread, shared_client: httpx.Client) -> Iterator[httpx.Client]:
    """A client with Foundry's key."""
    shared_client.headers["api-key"] = KEY
    yield shared_client
    shared_client.headers.pop("api-key", None)


Generate = Callable[..., httpx.Response]


@pytest.fixture
def generate(client: httpx.Client) -> Generate:
    """Ask Foundry's `east` for an image; keywords change the body."""

    def call(upstream: str = "east", headers: dict[str, str] | None = None, **changes: Any) -> httpx.Response:
        body = {"model": "mai", "prompt": "a red fox", "width": 1024, "height": 768, **changes}
        return client.post(f"/{upstream}/mai/v1/images/generations", json=body, headers=headers)

    return call


@pytest.fixture
def arm(client: httpx.Client) -> Callable[..., dict[str, Any]]:
    """Arm a fault; keywords are its fields."""

    def call(**fault: Any) -> dict[str, Any]:
        response = client.post("/_sim/faults", json=fault)
        assert response.status_code == 201, response.text
        return response.json()

    return call


@pytest.fixture
def entries(client: httpx.Client) -> Callable[..., list[dict[str, Any]]]:
    """The log's entries; keywords are query parameters."""

    def call(**query: Any) -> list[dict[str, Any]]:
        return client.get("/_sim/log", params=query).json()["entries"]

    return call


@pytest.fixture
def put_upstream(client: httpx.Client) -> Callable[[str, UpstreamConfig], None]:
    """Add or change an upstream."""

    def call(name: str, upstream: UpstreamConfig) -> None:
        settings = upstream.model_dump(mode="json")
        client.put(f"/_sim/upstreams/{name}", json=settings).raise_for_status()

    return call


def image_bytes(name: str = "PNG", size: tuple[int, int] = (300, 200)) -> bytes:
    """A teal image."""
    buffer = io.BytesIO()
    Image.new("RGB", size, "teal").save(buffer, name)
    return buffer.getvalue()


def data_url(name: str = "PNG", size: tuple[int, int] = (300, 200)) -> str:
    """The same as a data URL."""
    text = base64.b64encode(image_bytes(name, size)).decode()
    return f"data:image/{name.lower()};base64,{text}"


def opened(data: bytes | str) -> Image.Image:
    """The image in these bytes, or in this base64 text or data URL; decoded whole."""
    if isinstance(data, str):
        data = base64.b64decode(data.rpartition(",")[2], validate=True)
    image = Image.open(io.BytesIO(data))
    image.load()
    return image
