"""What `imagequeue storage init` does with a bucket: make it, let strangers read images, try what is needed.

Servers that speak S3 leave out different parts of it. Every step ends with a sentence that says what this
server does, or what it cannot do and what is done instead. All steps may be repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from botocore.exceptions import ClientError

from imagequeue.media import s3_errors
from imagequeue.media.bucket import S3Storage
from imagequeue.media.bucket_policy import same_policy, with_public_outputs, without_public_outputs
from imagequeue.media.bucket_trial import BucketTrial, Finding
from imagequeue.media.s3_errors import failures
from imagequeue.media.storage import StorageUnavailable

_OWN: Final = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}
_CLASSIC_REGION: Final = "us-east-1"
"""The one region that may not be named where a bucket is made."""


def set_up_bucket(storage: S3Storage, *, public: bool) -> Iterator[Finding]:
    """Make a bucket ready. `public`: strangers may read output images; else what allowed it is taken back.

    Raises:
        StorageUnavailable: there is no bucket and none can be made, or it takes no objects.
    """
    with failures():
        yield _bucket(storage)
        yield _policy(storage, public=public)
    yield from BucketTrial(storage, public).findings()


def _bucket(storage: S3Storage) -> Finding:
    try:
        storage.client.head_bucket(Bucket=storage.bucket)
    except ClientError as error:
        if not s3_errors.is_refusal(error):
            raise
        return _made_bucket(storage, error)
    return Finding("bucket", True, f"The bucket {storage.bucket} is there.")


def _made_bucket(storage: S3Storage, looked: ClientError) -> Finding:
    """Make the bucket; `looked` is the refusal to say whether it is there, or that it is not."""
    region = storage.client.meta.region_name
    try:
        if region in (_CLASSIC_REGION, "aws-global"):
            storage.client.create_bucket(Bucket=storage.bucket)
        else:
            storage.client.create_bucket(
                Bucket=storage.bucket,
                CreateBucketConfiguration={"LocationConstraint": region},  # pyright: ignore[reportArgumentType]
            )
    except ClientError as error:
        if s3_errors.code(error) in _OWN:
            return Finding("bucket", True, f"The bucket {storage.bucket} is there.")
        if s3_errors.is_refusal(error) and s3_errors.may_be_missing(looked):
            return Finding(
                "bucket", True, f"This user may not ask whether the bucket {storage.bucket} is there."
            )
        raise StorageUnavailable(
            f"S3: there is no bucket {storage.bucket}, and this user may not make one: {error}"
        ) from None
    return Finding("bucket", True, f"The bucket {storage.bucket} was made.")


def _policy(storage: S3Storage, *, public: bool) -> Finding:
    try:
        found = _current_policy(storage)
        public_policy = with_public_outputs(found, storage.bucket, storage.prefix)
        _replace_policy(storage, found, public_policy if public else without_public_outputs(found))
    except (ClientError, ValueError) as error:
        return Finding("policy", False, f"The policy of the bucket cannot be set: {error}")
    if public:
        return Finding("policy", True, "The policy of the bucket lets strangers read v1/*, and nothing else.")
    return Finding("policy", True, "The policy of the bucket lets strangers read nothing that is ours.")


def _current_policy(storage: S3Storage) -> str | None:
    try:
        return storage.client.get_bucket_policy(Bucket=storage.bucket)["Policy"]
    except ClientError as error:
        if s3_errors.code(error) == "NoSuchBucketPolicy":
            return None
        raise


def _replace_policy(storage: S3Storage, found: str | None, wanted: str | None) -> None:
    if same_policy(found, wanted):
        return
    if wanted is not None:
        storage.client.put_bucket_policy(Bucket=storage.bucket, Policy=wanted)
    else:
        storage.client.delete_bucket_policy(Bucket=storage.bucket)
