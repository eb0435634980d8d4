"""The clients of boto3 that speak to S3 servers, set up so that old and small ones understand them."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

import boto3
from botocore import UNSIGNED
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.httpsession import URLLib3Session
from botocore.session import get_session

from imagequeue import __version__

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CONFIG = Config(
    connect_timeout=2,  # seconds, as below: an image that cannot be stored soon goes to the local disk
    read_timeout=10,
    retries={"total_max_attempts": 2, "mode": "standard"},
    max_pool_connections=64,
    signature_version="s3v4",
    user_agent=f"imagequeue/{__version__}",  # without one, botocore puts its own together for every request
    # Headers and trailers with newer checksums are refused by servers that do not know them.
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)
_PATH_STYLE = Config(s3={"addressing_style": "path"})
"""`ENDPOINT/BUCKET/KEY`: only AWS is sure to have a name in the DNS for every bucket."""

_ANONYMOUS = Config(signature_version=UNSIGNED)
_NEEDING_A_CHECKSUM = ("DeleteObjects", "PutBucketPolicy")


def open_client(endpoint_url: str | None, *, anonymous: bool = False) -> S3Client:
    """A client, which threads may share; making it takes 0.2 s for botocore's files.

    `endpoint_url` is None for AWS. `anonymous`: it sends no signature, as a stranger does.
    """
    config = _CONFIG.merge(_PATH_STYLE) if endpoint_url else _CONFIG
    session = boto3.session.Session()
    client = session.client(  # pyright: ignore[reportUnknownMemberType]  # stubs for S3 only
        "s3", endpoint_url=endpoint_url, config=config.merge(_ANONYMOUS) if anonymous else config
    )
    for operation in _NEEDING_A_CHECKSUM:
        client.meta.events.register(f"before-call.s3.{operation}", _send_md5)
    return client


def _send_md5(params: dict[str, Any], **_: object) -> None:
    """Send the checksum of the body as `Content-MD5`, which every S3 server knows, instead of as a CRC-32."""
    body: str | bytes = params["body"]
    content = body.encode() if isinstance(body, str) else body
    digest = hashlib.md5(content, usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = base64.b64encode(digest).decode()
    params["context"].pop("checksum", None)


def download(url: str) -> tuple[int, str, bytes]:
    """Get a URL as whoever was given it does: status, media type and body. TLS is verified as boto3 does.

    Raises:
        HTTPClientError: there is no answer.
    """
    verify = get_session().get_config_variable("ca_bundle") or True
    answer = URLLib3Session(verify=verify, timeout=10).send(AWSRequest("GET", url).prepare())
    return answer.status_code, answer.headers.get("Content-Type", ""), answer.content
