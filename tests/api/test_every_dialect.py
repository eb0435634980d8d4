"""One job, every protocol: a job of any dialect is followed and cancelled by its id."""

from __future__ import annotations

from imagequeue.dialects.registry import DIALECTS
from tests.api.service import Client
from tests.api.streams import Stream
from tests.api.submits import Submit, submits

SUBMITS = [one for one in submits() if not one.image_count]
"""Which deployments edit an image is no matter here."""


def test_a_job_of_any_dialect_is_polled_listed_streamed_and_cancelled_by_its_id(client: Client) -> None:
    assert {one.dialect.name for one in SUBMITS} == {dialect.name for dialect, _ in DIALECTS.routes()}
    for submit in SUBMITS:
        assert followed(client, submit) == ["QUEUED", "QUEUED", "QUEUED", "FAILED", "FAILED"], str(submit)
    assert client.wallet()["held"] == "0"


def followed(client: Client, submit: Submit) -> list[str]:
    """The statuses of a new job: polled, listed, streamed; then as its cancel says, and streamed."""
    headers = {"Content-Type": submit.content_type, "Prefer": "respond-async"}
    accepted = client.http.post(submit.path, content=submit.body(), headers=headers)
    assert accepted.status_code == 202, (str(submit), accepted.text)
    request_id = accepted.headers["X-Request-Id"]
    newest = client.http.get("/v2/requests").json()["data"][0]
    assert newest["request_id"] == request_id
    stream = Stream(client, request_id)
    seen = [client.status(request_id).json()["status"], newest["status"], stream.status()]
    cancelled = client.http.post(f"/v2/requests/{request_id}/cancel").json()["status"]
    seen += [cancelled, stream.status()]
    assert stream.rest() == []
    stream.close()
    return seen
