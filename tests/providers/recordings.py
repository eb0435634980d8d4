"""Recorded answers: `tests/recordings/{provider}/{name}.json`, made from the upstreams' documents.

`document.py` beside them has the rules for requests (`tests/providers/document.py`).

`<image>` in a body stands for base64 and `<image url>` for a download, so that a recording stays small and
the same one serves every form of nonsense. `of` names the answer: of a `call` (default) or of a `poll`.
"""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from imagequeue.domain.catalog import ProviderName
from imagequeue.domain.encoded import EncodedImage
from imagequeue.domain.upstream import Images, Pending
from imagequeue.media.images import check_output
from imagequeue.providers.provider import PollingProvider
from imagequeue.providers.registry import PROVIDERS
from imagequeue.providers.response import UpstreamResponse
from tests.media.pictures import picture

DIRECTORY = Path(__file__).parents[1] / "recordings"
URL = "https://upstream.example/v1/answers/7"
"""Where the calls of recorded answers went."""
IMAGE_URL = "https://cdn.example/output.png"
REFERENCE = "microsoft-mai-image-2-5_019d0000-0000-7000-8000-000000000001"


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded answer and what it must be read as."""

    provider: ProviderName
    name: str
    status: int
    body: Any = None
    text: str | None = None
    headers: dict[str, str] = field(default_factory=dict[str, str])
    expects: dict[str, Any] = field(default_factory=dict[str, Any])
    of: str = "call"

    def content(self, image: bytes) -> bytes:
        """The body with `image` in it."""
        text = json.dumps(self.body) if self.text is None else self.text
        encoded = base64.b64encode(image).decode()
        return text.replace("<image>", encoded).replace("<image url>", IMAGE_URL).encode()


def recorded(provider: ProviderName, name: str) -> Recording:
    """Read one recording."""
    path = DIRECTORY / provider / f"{name}.json"
    return Recording(provider=provider, name=name, **json.loads(path.read_text("utf-8")))


def all_recordings() -> list[Recording]:
    """Every recording there is."""
    found = sorted(DIRECTORY.glob("*/*.json"))
    return [recorded(path.parent.name, path.stem) for path in found]


def response(status: int, content: bytes, headers: dict[str, str] | None = None) -> UpstreamResponse:
    """An answer as the exchange gives it."""
    raw = [(name.encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    return UpstreamResponse(status, httpx.Headers(raw), io.BytesIO(content), URL)


def read(
    recording: Recording, image_count: int | None = None, content: bytes | None = None
) -> Images | Pending:
    """Let the provider read a recording, or other bytes in its place."""
    provider = PROVIDERS[recording.provider]
    count = image_count or recording.expects.get("images", 1)
    body = recording.content(picture()) if content is None else content
    answer = response(recording.status, body, recording.headers)
    if recording.of == "poll":
        assert isinstance(provider, PollingProvider)
        return provider.parse_poll(answer, REFERENCE, count)
    return provider.parse(answer, count)


def received(images: Images, download: bytes) -> list[EncodedImage]:
    """What an attempt makes of the images; those behind URLs are `download`."""
    return [
        check_output(image.content if image.content is not None else download, "png")
        for image in images.images
    ]
