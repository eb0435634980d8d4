"""How much memory a picture takes while it is decoded and prepared, read from its header.

The figures are bytes for each pixel, measured as the growth of a process's peak (docs/http-edge.md,
"Pictures"), and rounded up. `tests/media/test_weight.py` measures them again.
"""

from __future__ import annotations

from PIL import Image

from imagequeue.domain.images import OutputFormat
from imagequeue.media.decoding import UnusableImage, header_of

MOST_SCANS = 100
"""Scans of a progressive JPEG: usual ones have ten. A decoder goes over all pixels for each, and a scan of a
few bytes is valid: 45 KiB with a thousand of them took 9 s."""
_SCAN = b"\xff\xda"
_SLICE_BYTES = 1024 * 1024

_WEBP = 16
"""Two canvases of the animation, the frame, and the copy that Pillow takes: four bytes for a pixel each."""
_PROGRESSIVE = 8
"""Coefficients of two bytes for each of at most four channels, which a decoder holds until the last scan."""
_CONVERTING = 12
"""Three copies at most: turned, without transparency, with other colours."""
_CONVERTING_TO_WEBP = 20
"""The encoder takes a copy of its own."""
_CHANNELS = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
"""Bytes of a pixel by mode, where Pillow does not take four."""


def weigh(content: bytes, becomes: OutputFormat | None = None) -> int:
    """Bytes of memory that it takes to decode a picture and to convert it; None: as an input image.

    0: the header cannot be read, so that nothing will be decoded.
    """
    try:
        header = header_of(content)
    except UnusableImage:
        return 0
    with header:
        return header.width * header.height * (_loading(header) + _converting(header, becomes))


def has_many_scans(content: bytes) -> bool:
    """Whether a JPEG may take far longer to decode than its pixels say."""
    return content.startswith(b"\xff\xd8") and _scans(content) > MOST_SCANS


def _scans(content: bytes) -> int:
    """The marks of scans, counted in slices: other threads have their turns in between."""
    slices = range(0, len(content), _SLICE_BYTES)
    return sum(content.count(_SCAN, begin, begin + _SLICE_BYTES + len(_SCAN) - 1) for begin in slices)


def _loading(header: Image.Image) -> int:
    """Bytes for each pixel while it is decoded."""
    if header.format == "WEBP":
        return _WEBP
    held = _PROGRESSIVE if header.info.get("progressive") else 0
    return held + _CHANNELS.get(header.mode, 4)


def _converting(header: Image.Image, becomes: OutputFormat | None) -> int:
    """Bytes for each pixel beside the decoded image while it is converted; an answer in its format is not."""
    if becomes is not None and header.format == becomes.upper():
        return 0
    return _CONVERTING_TO_WEBP if becomes == "webp" else _CONVERTING
