"""The files behind the URLs that some upstreams answer with. A file is painted when it is downloaded."""

from collections import OrderedDict
from dataclasses import dataclass
from uuid import uuid4

from simulator.faults import Fault, Target
from simulator.images import Picture

MAX_FILES = 20_000
"""Bounds the memory of a long run; clients download within seconds."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What a URL leads to. `fault` is that of the call, if it is to be applied to the file."""

    picture: Picture
    target: Target
    fault: Fault | None


class MediaShelf:
    """The newest 20,000 files by their unguessable names."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, StoredFile] = OrderedDict()

    def put(self, file: StoredFile) -> str:
        """Add a file and return its name. Above 20,000 the oldest is dropped."""
        name = f"{uuid4().hex}.{file.picture.format}"
        self._files[name] = file
        while len(self._files) > MAX_FILES:
            self._files.popitem(last=False)
        return name

    def get(self, upstream: str, name: str) -> StoredFile | None:
        """The file, if this upstream has it."""
        file = self._files.get(name)
        return file if file is not None and file.target.upstream == upstream else None

    def clear(self) -> None:
        """Forget all files."""
        self._files.clear()
