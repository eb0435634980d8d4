"""Why a line of a batch's file cannot be a request."""

from __future__ import annotations

from imagequeue.domain.errors import InvalidRequest


class LineRefused(InvalidRequest):
    """A line of a batch cannot be a request.

    `code` and `param` are those of an entry of the batch's `errors`: the kind of mistake, and the field.
    """

    def __init__(self, message: str, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param
