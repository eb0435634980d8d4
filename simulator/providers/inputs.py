"""Input images as the providers take them: uploads and data URLs."""

import base64
import binascii
import re

from simulator.images import Format, InputImage, UnreadableImageError, read_input
from simulator.providers.provider import InvalidAskError

ANY_FORMAT: tuple[Format, ...] = ("png", "jpeg", "webp")

_DATA_URL = re.compile(r"data:image/(png|jpeg|webp);base64,", re.IGNORECASE)


def read_upload(data: bytes, field: str, allowed: tuple[Format, ...] = ANY_FORMAT) -> InputImage:
    """Decode an uploaded image; raises InvalidAskError that names the field."""
    try:
        return read_input(data, allowed)
    except UnreadableImageError as error:
        raise InvalidAskError(f"{field}: {error}", field) from error


def read_data_url(url: str, field: str) -> InputImage:
    """Decode an image in a data URL; raises InvalidAskError for anything else, http(s) URLs too."""
    match = _DATA_URL.match(url)
    if match is None:
        raise InvalidAskError(f"{field}: must be a data URL with a base64 png, jpeg or webp image", field)
    try:
        data = base64.b64decode(url[match.end() :], validate=True)
    except binascii.Error as error:
        raise InvalidAskError(f"{field}: the data URL holds no valid base64", field) from error
    return read_upload(data, field)
