"""What can go wrong in a demo."""

from imagequeue.domain.errors import ImagequeueError


class DemoFailed(ImagequeueError):
    """The demo has failed."""
