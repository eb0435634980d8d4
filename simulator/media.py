"""Files behind the URLs that some upstreams answer with; they are painted when somebody downloads them."""

from collections import OrderedDict
from dataclasses import dataclass
from uuid import uuid4

from simulator.faults import Fault, Target
from simulator.images import Picture

MAX_FILES = 20_000


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What a URL leads to, and the fault of its call where that one concerns the file."""

    picture: Picture
    target: Target
    fault: Fault | None


class MediaShelf:
    """The newest 20,000 files by their unguessable names."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, StoredFile] = OrderedDict()

    def put(self, file: StoredFile) -> str:
        """Keep a file and return its name; the oldest makes room."""
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
