"""The policy of a bucket: who may read what, and what stays of an older policy."""

from __future__ import annotations

import json
from typing import Any

import pytest

from imagequeue.media.bucket_policy import same_policy, with_public_outputs, without_public_outputs

OURS: dict[str, Any] = {
    "Sid": "ImagequeueOutputsArePublic",
    "Effect": "Allow",
    "Principal": "*",
    "Action": "s3:GetObject",
    "Resource": "arn:aws:s3:::images/v1/*",
}
SOMEBODY: dict[str, Any] = {
    "Effect": "Allow",
    "Principal": {"AWS": "arn:aws:iam::1:user/backup"},
    "Action": "s3:*",
    "Resource": "arn:aws:s3:::images/*",
}
HTTPS_ONLY: dict[str, Any] = {
    "Effect": "Deny",
    "Principal": "*",
    "Action": "s3:*",
    "Resource": "arn:aws:s3:::images/*",
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}
LISTABLE: dict[str, Any] = {
    "Effect": "Allow",
    "Principal": {"AWS": ["*"]},
    "Action": ["s3:GetBucketLocation", "s3:ListBucket"],
    "Resource": ["arn:aws:s3:::images"],
}


def _policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def _statements(policy: str) -> list[dict[str, Any]]:
    return json.loads(policy)["Statement"]


def test_a_bucket_without_a_policy_gets_ours() -> None:
    assert _statements(with_public_outputs(None, "images", "")) == [OURS]


def test_below_a_prefix_only_images_below_it_are_public() -> None:
    (ours,) = _statements(with_public_outputs(None, "images", "some/prefix/"))
    assert ours["Resource"] == "arn:aws:s3:::images/some/prefix/v1/*"


def test_a_second_time_changes_nothing() -> None:
    policy = with_public_outputs(_policy(SOMEBODY), "images", "")
    assert same_policy(with_public_outputs(policy, "images", ""), policy)


def test_an_older_policy_that_let_strangers_list_goes_and_others_stay() -> None:
    policy = with_public_outputs(_policy(SOMEBODY, LISTABLE, HTTPS_ONLY), "images", "")
    assert _statements(policy) == [SOMEBODY, HTTPS_ONLY, OURS]


def test_in_a_bucket_that_is_shared_others_statements_are_not_ours_to_take() -> None:
    assert LISTABLE in _statements(with_public_outputs(_policy(LISTABLE), "images", "some/prefix/"))


def test_a_policy_of_one_statement_need_not_be_a_list() -> None:
    policy = json.dumps({"Version": "2012-10-17", "Statement": HTTPS_ONLY})
    assert _statements(with_public_outputs(policy, "images", "")) == [HTTPS_ONLY, OURS]


@pytest.mark.parametrize(
    ("found", "left"), [(None, None), (_policy(OURS), None), (_policy(OURS, SOMEBODY), [SOMEBODY])]
)
def test_taken_back_only_ours_goes(found: str | None, left: list[dict[str, Any]] | None) -> None:
    policy = without_public_outputs(found)
    assert (policy and _statements(policy)) == left
