"""Every refusal that a client can meet. No HTTP here: `api/errors.py` maps each class to a status.

A class's docstring is its default message.

    ImagequeueError
    ├── InvalidRequest           a field of the request is wrong; the message names it
    │   ├── UnknownModel
    │   └── DestinationRefused   a URL that this service will not call; the message names the rule, no address
    ├── Unauthenticated
    ├── Forbidden
    │   ├── KeyRevoked
    │   └── OperatorOnly
    ├── InsufficientBalance
    ├── NotFound
    ├── AlreadyFinal
    ├── TooLarge
    ├── UnsupportedMediaType
    ├── IdempotencyMismatch
    ├── TooManyRequests          carries `retry_after` in seconds
    ├── ServiceUnavailable       carries `retry_after` in seconds
    ├── StillRunning             a client has waited long enough; says whether a repeat joins the job
    └── ConfigurationError       at start only: a setting or a catalog entry is wrong
"""

from __future__ import annotations

from inspect import getdoc


class ImagequeueError(Exception):
    """Something went wrong."""

    def __init__(self, message: str | None = None) -> None:
        self.message = message or (getdoc(type(self)) or "").splitlines()[0]
        super().__init__(self.message)


class InvalidRequest(ImagequeueError):
    """The request is not valid."""


class UnknownModel(InvalidRequest):
    """Model not found or is disabled."""

    @classmethod
    def named(cls, model: str) -> UnknownModel:
        """Build the refusal that names the model as the client wrote it, or how that begins."""
        return cls(f"Model '{model[:200]}' not found or is disabled")


class DestinationRefused(InvalidRequest):
    """This URL cannot be used."""


class Unauthenticated(ImagequeueError):
    """The API key is missing or unknown."""


class Forbidden(ImagequeueError):
    """This key may not do that."""


class KeyRevoked(Forbidden):
    """This API key was revoked."""


class OperatorOnly(Forbidden):
    """This route needs a key that was made with --operator."""


class InsufficientBalance(ImagequeueError):
    """Your wallet does not have enough balance."""


class NotFound(ImagequeueError):
    """No such resource."""


class AlreadyFinal(ImagequeueError):
    """The job is already final."""


class TooLarge(ImagequeueError):
    """The request body is too large."""


class UnsupportedMediaType(ImagequeueError):
    """The request body has a content type that this route does not take."""


class IdempotencyMismatch(ImagequeueError):
    """This Idempotency-Key was used before with another request."""


class TooManyRequests(ImagequeueError):
    """Too many requests with this API key."""

    def __init__(self, message: str | None = None, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ServiceUnavailable(ImagequeueError):
    """The service is not available at the moment; try again."""

    def __init__(self, message: str | None = None, *, retry_after: float = 2.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StillRunning(ImagequeueError):
    """The job goes on; ask for its status."""

    def __init__(self, message: str | None = None, *, repeat_joins: bool = False) -> None:
        super().__init__(message)
        self.repeat_joins = repeat_joins


class ConfigurationError(ImagequeueError):
    """A setting or a catalog entry is wrong."""
