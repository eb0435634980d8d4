"""Pictures that need much memory are prepared in child processes, each for one picture.

There is one child at a time for inputs and one for answers: a paid answer waits for no client's picture.

Pillow cannot bound what it takes, and a process that has once grown keeps much of it. The child has a limit
on its address space (`media/child_program.py`) and on its time, and the system kills it first when memory
runs out. So a picture that needs more than it may have ends the child, and not the process that serves
everybody.

At its limits of 50 megapixels the picture that needs most, a WebP, takes 0.8 GiB of address space.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import structlog

from imagequeue.domain.encoded import EncodedImage
from imagequeue.media.decoding import TooLargeImage, UnusableImage, header_of, require_pixels
from imagequeue.media.gate import Budget, decoding
from imagequeue.media.weight import has_many_scans, weigh

log = structlog.get_logger()

MOST_IN_PROCESS_BYTES = 64 * 1024 * 1024
"""The weight up to which a picture is decoded in this process. A PNG of 4096 x 4096 pixels that is not to be
converted is below it."""


@dataclass(frozen=True, slots=True)
class ChildLimits:
    """What a child may take: address space in bytes, and whole seconds of a core.

    A picture of 50 megapixels takes three seconds. Time of a core does not count how busy the machine is.
    """

    memory_bytes: int
    seconds: int = 30


INPUT_LIMITS = ChildLimits(1024 * 1024 * 1024)
"""A WebP of 50 megapixels takes 0.8 GiB, with Python itself."""
ANSWER_LIMITS = ChildLimits(2 * 1024 * 1024 * 1024)
"""An upstream's image is paid for: this is nearly twice what any of 25 megapixels and 64 MiB takes."""

Task = Literal["input", "mask", "png", "jpeg", "webp"]
"""What is made: an input image, a mask, or an upstream's image in a format."""
_INPUT_TASKS: Final = ("input", "mask")

_COMMAND: Final = (sys.executable, "-P", str(Path(__file__).absolute().with_name("child_program.py")))
_INHERITED: Final = ("PATH", "HOME", "LD_LIBRARY_PATH", "PYTHONHOME", "LANG", "LC_ALL", "TZ")
"""What a child gets of the environment, which has the upstreams' keys in it."""

_WAITED: Final = 4
"""Times the seconds of a core, a child is waited for, on a machine where others want the core too."""

_TOO_LONG: Final = "it takes too long to decode"
INPUT_CHILD: Final = Budget(1)
"""The place of the one child that prepares an input image or a mask."""
ANSWER_CHILD: Final = Budget(1)
"""The place of the one child that prepares an upstream's image."""
_MOST_LOGGED_CHARACTERS = 2000


class ChildFailed(Exception):
    """A child had too little memory or time for this picture. The message says why."""


class ChildUnavailable(Exception):
    """No child could be started, or it failed whatever the picture: another try may succeed."""


def prepare(
    task: Task, content: bytes, here: Callable[[], EncodedImage], *, most_pixels: int, limits: ChildLimits
) -> EncodedImage:
    """Do the task by `here` in this process, or in a child where the picture may take too much of it.

    Raises:
        TooManyPixels: the header announces more than `most_pixels`, and a child would be needed.
        UnusableImage: as the task does in this process.
        ChildFailed: the picture needs more memory or time than a child has.
        ChildUnavailable: no child can be started now.
    """
    weight = weigh(content, None if task in _INPUT_TASKS else task)
    if weight <= MOST_IN_PROCESS_BYTES and not has_many_scans(content):
        with decoding(weight):
            return here()
    with header_of(content) as header:
        require_pixels(header, most_pixels)  # no child for a bomb
    return _in_child(task, content, weight, limits)


def _in_child(task: Task, content: bytes, weight_bytes: int, limits: ChildLimits) -> EncodedImage:
    """Do the task in a child process; wait in line while another one of its kind runs."""
    with (INPUT_CHILD if task in _INPUT_TASKS else ANSWER_CHILD).of(1):
        head, _, body = _answer(task, content, weight_bytes, limits).partition(b"\n")
    said: dict[str, Any] = json.loads(head)
    if "refused" in said:
        raise (TooLargeImage if said["too_large"] else UnusableImage)(said["refused"])
    if "failed" in said:
        raise ChildFailed(said["failed"])
    return EncodedImage(
        content if said["unchanged"] else body, said["media_type"], said["width"], said["height"]
    )


def _answer(task: Task, content: bytes, weight_bytes: int, limits: ChildLimits) -> bytes:
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    try:
        child = subprocess.Popen(  # noqa: S603 -- a fixed program of this installation
            [*_COMMAND, task, *map(str, (weight_bytes, limits.memory_bytes, limits.seconds))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C at a terminal is for the parent, which ends its work first
        )
    except OSError as error:
        raise ChildUnavailable(f"no process can be started: {error}") from error
    with child:
        try:
            answer, said = child.communicate(content, timeout=_WAITED * limits.seconds)
        except subprocess.TimeoutExpired:
            raise ChildFailed(_TOO_LONG) from None
        finally:
            child.kill()
    _require_success(child.returncode, said)
    return answer


def _require_success(code: int, said: bytes) -> None:
    """Tell a picture that ended its child by a signal from a fault of ours, which Python ends with 1."""
    if code == 0:
        return
    text = said.decode("utf-8", "replace")[-_MOST_LOGGED_CHARACTERS:]
    log.error("picture_child_ended", code=code, said=text)
    if code == -signal.SIGXCPU:
        raise ChildFailed(_TOO_LONG)
    if code < 0:
        raise ChildFailed("decoding it ended the process that did it")
    raise ChildUnavailable(f"the process ended with {code}")
