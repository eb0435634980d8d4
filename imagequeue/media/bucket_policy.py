"""The policy of a bucket: strangers may read output images whose key they know, and nothing else.

Nobody guesses the key of an output image: it has two random ids. A list would give all of them away, so no
stranger may list. Input images lie below `inputs/` and are for this service alone.
"""

from __future__ import annotations

import json
from typing import Any, cast

from imagequeue.media.keys import OUTPUT_PREFIX

_ID = "ImagequeueOutputsArePublic"


def with_public_outputs(policy: str | None, bucket: str, prefix: str) -> str:
    """The policy that a bucket gets; `policy` is the one that it has.

    Statements that let strangers in without a condition are left out where the whole bucket is ours
    (`prefix` is empty), because older installations let strangers list. Every other statement stays.
    """
    kept = [statement for statement in _statements(policy) if not _is_replaced(statement, ours=not prefix)]
    ours = {
        "Sid": _ID,
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/{prefix}{OUTPUT_PREFIX}*",
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [*kept, ours]})


def without_public_outputs(policy: str | None) -> str | None:
    """The policy without what `with_public_outputs` adds; None: nothing is left of it."""
    kept = [statement for statement in _statements(policy) if statement.get("Sid") != _ID]
    return json.dumps({"Version": "2012-10-17", "Statement": kept}) if kept else None


def same_policy(one: str | None, other: str | None) -> bool:
    """Whether two policies have the same statements; servers write a policy in their own way."""
    return _statements(one) == _statements(other)


def _statements(policy: str | None) -> list[dict[str, Any]]:
    found: object = json.loads(policy)["Statement"] if policy else []
    return cast("list[dict[str, Any]]", found if isinstance(found, list) else [found])


def _is_replaced(statement: dict[str, Any], *, ours: bool) -> bool:
    if statement.get("Sid") == _ID:
        return True
    return ours and statement.get("Effect") == "Allow" and _for_strangers(statement)


def _for_strangers(statement: dict[str, Any]) -> bool:
    everybody = ("*", ["*"], {"AWS": "*"}, {"AWS": ["*"]})
    return not statement.get("Condition") and statement.get("Principal") in everybody
