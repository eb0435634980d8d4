"""Routes are data: their paths are matched the same way with and without a web framework."""

from __future__ import annotations

import pytest

from imagequeue.dialects.dialect import DialectRoute, SubmittedBody


def route(path: str) -> DialectRoute:
    return DialectRoute("POST", path, "submit", "", "", {})


@pytest.mark.parametrize(
    ("pattern", "path", "parameters"),
    [
        ("/v1/images", "/v1/images", {}),
        ("/v1/images", "/v1/images/", None),
        ("/v1/images", "/v1/imagesx", None),
        ("/v1.0/images", "/v1x0/images", None),
        ("/a/{name}", "/a/b", {"name": "b"}),
        ("/a/{name}", "/a/", None),
        ("/a/{name}", "/a/b/c", None),
        ("/a/{name}", "/a/b\n", {"name": "b\n"}),
        ("/{model}/v1/{model}-request", "/m/v1/m-request", {"model": "m"}),
        ("/{model}/v1/{model}-request", "/m/v1/other-request", None),
        ("/{model}/v1/{model}-request", "/m-edit/v1/m-edit-request", {"model": "m-edit"}),
        ("/{owner}/{app:path}", "/fal/flux/dev/edit", {"owner": "fal", "app": "flux/dev/edit"}),
        ("/jobs/{id}/status", "/jobs/1/2/status", None),
    ],
)
def test_a_path_is_matched_as_a_whole(pattern: str, path: str, parameters: dict[str, str] | None) -> None:
    assert route(pattern).match(path) == parameters


def test_objects_that_say_the_same_are_the_same_submit_and_forms_with_other_files_are_not() -> None:
    assert SubmittedBody("json", {"a": 1}).identity() == {"a": 1}
    forms = [
        SubmittedBody("form", {"a": "1"}, {"image": files}) for files in ((b"x",), (b"x",), (b"x", b"x"))
    ]
    assert forms[0].identity() == forms[1].identity() != forms[2].identity()
