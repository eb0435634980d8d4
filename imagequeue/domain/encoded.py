"""An encoded image with its media type and size: `media` checks it, providers send it."""

from __future__ import annotations

from dataclasses import dataclass

from imagequeue.domain.images import MEDIA_TYPES


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """A decodable image: its bytes, media type (`image/png`) and size in pixels."""

    content: bytes
    media_type: str
    width: int
    height: int

    @property
    def filename(self) -> str:
        """A file name for multipart forms, with the ending of the media type."""
        return f"image.{extension(self.media_type)}"


def extension(media_type: str) -> str:
    """`png`, `jpeg` or `webp`; `bin` for any other media type."""
    return next((name for name, known in MEDIA_TYPES.items() if known == media_type), "bin")
