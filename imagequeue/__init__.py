"""imagequeue: an asynchronous job queue for image generation, with webhooks."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("imagequeue")
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "0.0.0"
