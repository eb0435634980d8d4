"""What the errors of S3 servers mean. Servers differ in whether they give a name or only the status."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from http import HTTPStatus
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from imagequeue.media.storage import StorageError, StorageUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import PutObjectOutputTypeDef

_MISSING = {"NoSuchKey", "404", "NotFound"}
_EXISTS = {"PreconditionFailed", "412"}
_CONFLICT = {"ConditionalRequestConflict", "OperationAborted", "409"}
_FORBIDDEN = {"AccessDenied", "Forbidden", "403"}
_BEYOND_THE_END = {"InvalidRange", "416"}
_PASSING = {"RequestTimeout", "SlowDown", "408", "425", "429"}


def code(error: ClientError) -> str:
    """The name that the server gave to the error, else its status."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status(error: ClientError) -> int:
    """The status of the answer."""
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


def is_missing(error: ClientError) -> bool:
    """There is no such object."""
    return code(error) in _MISSING


def may_be_missing(error: ClientError) -> bool:
    """There is no such object, or it may not be read: a user without `s3:ListBucket` is not told which."""
    return code(error) in _FORBIDDEN


def exists_already(error: ClientError) -> bool:
    """The object that `If-None-Match: *` did not allow to replace is there."""
    return code(error) in _EXISTS


def is_conflict(error: ClientError) -> bool:
    """Another write of the same key is under way: the server asks to try again."""
    return code(error) in _CONFLICT or status(error) == HTTPStatus.CONFLICT


def is_beyond_the_end(error: ClientError) -> bool:
    """The part that was asked for begins where the object has ended."""
    return code(error) in _BEYOND_THE_END


def is_refusal(error: ClientError) -> bool:
    """The server will not do what it was asked for, however often: it cannot, or the user may not."""
    refused = HTTPStatus.BAD_REQUEST <= status(error) < HTTPStatus.INTERNAL_SERVER_ERROR
    return (refused or status(error) == HTTPStatus.NOT_IMPLEMENTED) and code(error) not in _PASSING


def require_stored(answer: PutObjectOutputTypeDef) -> None:
    """Check that an object was stored: any web server may answer a PUT with 200, but without an ETag.

    Raises:
        StorageUnavailable: the answer has none.
    """
    if not answer.get("ETag"):
        raise StorageUnavailable("S3: the endpoint does not answer as S3 does: there is no ETag")


@contextlib.contextmanager
def failures() -> Generator[None]:
    """Turn whatever boto3 raises into StorageUnavailable. Its texts hold no credentials.

    Its own errors are not all: an endpoint that is no URL is a ValueError, a page instead of XML an error of
    a parser. An image that meets any of them is paid for, and must wait.
    """
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        raise StorageUnavailable(f"S3: {type(error).__name__}: {error}") from error
