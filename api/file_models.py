"""What the routes about files answer with, for the documentation of the API. Times are Unix seconds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from imagequeue.dialects.fields import AnswerFields

FileId = Annotated[str, Field(examples=["file-019d00000000700080000000000000a1"])]


class ListedFile(AnswerFields):
    """A file, as OpenAI has it."""

    id: FileId
    object: Literal["file"]
    bytes: int
    created_at: int
    expires_at: int | None = None
    filename: str
    purpose: str
    status: Literal["processed"]


class FileList(AnswerFields):
    """Files of the account."""

    object: Literal["list"]
    data: list[ListedFile]
    first_id: FileId | None
    last_id: FileId | None
    has_more: bool


class DeletedFile(AnswerFields):
    """A file that is deleted."""

    id: FileId
    object: Literal["file"]
    deleted: Literal[True]


FILE_CONTENT: dict[str, Any] = {
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
}
"""The bytes of a file."""

FILE_FORM: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file", "purpose"],
                "additionalProperties": False,
                "properties": {
                    "file": {
                        "type": "string",
                        "format": "binary",
                        "description": "At most 1 GiB.",
                    },
                    "purpose": {"type": "string", "enum": ["batch", "user_data", "vision"]},
                    "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
                    "expires_after[seconds]": {"type": "integer", "minimum": 3600, "maximum": 2592000},
                },
            }
        }
    },
}
"""The form of an upload."""
