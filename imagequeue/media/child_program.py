"""The program of a child that prepares one picture: bytes come on its input, the answer goes to its output.

The answer is a line of JSON and the bytes that were made. This file is started by its path, as
`imagequeue/programs.py` is, and it imports the project when it has found it: in a checkout beside this
package, in the wheel where Python looks anyway.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from imagequeue.domain.encoded import EncodedImage
    from imagequeue.domain.images import OutputFormat

_OVERHEAD_BYTES = 64 * 1024 * 1024
"""Address space of Python with Pillow, rounded up."""
_OOM_SCORE = Path("/proc/self/oom_score_adj")
_KILLED_FIRST = "1000"


def main(task: str, weight_bytes: int, memory_bytes: int, seconds: int) -> None:
    """Do the task, and answer."""
    _set_limits(memory_bytes, seconds)
    content = sys.stdin.buffer.read()
    try:
        said, body = _done(task, content, weight_bytes, memory_bytes)
    except MemoryError:
        said, body = {"failed": "it needs more memory than a picture may take"}, b""
    sys.stdout.buffer.write(json.dumps(said).encode() + b"\n")
    sys.stdout.buffer.write(body)
    sys.stdout.buffer.flush()


def _done(task: str, content: bytes, weight_bytes: int, memory_bytes: int) -> tuple[dict[str, Any], bytes]:
    from imagequeue.media.decoding import TooLargeImage, UnusableImage  # noqa: PLC0415  # the path is set first

    try:
        made = _work(task)(content)
    except UnusableImage as error:
        if weight_bytes + 3 * len(content) + _OVERHEAD_BYTES > memory_bytes:  # decoders call it broken then
            return {"failed": "it cannot be decoded in the memory that a picture may take"}, b""
        return {"refused": str(error), "too_large": isinstance(error, TooLargeImage)}, b""
    size = {"width": made.width, "height": made.height}
    if made.content is content:
        return {"media_type": made.media_type, **size, "unchanged": True}, b""
    return {"media_type": made.media_type, **size, "unchanged": False}, made.content


def _work(task: str) -> Callable[[bytes], EncodedImage]:
    from imagequeue.media.images import in_format  # noqa: PLC0415  # as above
    from imagequeue.media.inputs import reencoded  # noqa: PLC0415  # as above

    if task in {"input", "mask"}:
        return partial(reencoded, is_mask=task == "mask")
    return partial(in_format, output_format=cast("OutputFormat", task))


def _set_limits(memory_bytes: int, seconds: int) -> None:
    """Bound memory and time; of its parent and itself, the system kills this process first."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    if _OOM_SCORE.exists():  # Linux alone has it
        _OOM_SCORE.write_text(_KILLED_FIRST, "ascii")


def _find_project() -> None:
    folder = str(Path(__file__).absolute().parents[2])
    if folder not in sys.path:
        sys.path.insert(0, folder)


if __name__ == "__main__":
    _find_project()
    main(sys.argv[1], *(int(number) for number in sys.argv[2:]))
