"""What happens to a job, and the stream of server-sent events that tells of it."""

from __future__ import annotations

import json

from sqlalchemy import Engine, text

from imagequeue.domain.jobs import JobStatus
from tests.api.service import Client


def move(engine: Engine, request_id: str, status: JobStatus) -> None:
    """What a dispatcher or settle does to the row and its events."""
    job_id = request_id.rpartition("_")[2]
    finished = "clock_timestamp()" if status.is_final else "NULL"
    with engine.begin() as connection:
        statement = f"UPDATE jobs SET status = :status, finished_at = {finished} WHERE id = CAST(:id AS uuid)"  # noqa: S608
        connection.execute(text(statement), {"id": job_id, "status": status.value})
        connection.execute(
            text("INSERT INTO events (job_id, status) VALUES (CAST(:id AS uuid), :status)"),
            {"id": job_id, "status": status.value},
        )


class Stream:
    """Server-sent events, read by a thread as they come."""

    def __init__(self, client: Client, request_id: str, last: str | None = None) -> None:
        headers = {"Last-Event-ID": last} if last else None
        self.context = client.http.stream("GET", f"/v2/requests/{request_id}/events", headers=headers)
        self.response = self.context.__enter__()
        self.lines = self.response.iter_lines()

    def event(self) -> dict[str, str]:
        fields: dict[str, str] = {}
        for line in self.lines:
            if not line and fields:
                return fields
            name, _, value = line.partition(": ")
            fields |= {name: value} if name else {}
        raise EOFError

    def status(self) -> str:
        return json.loads(self.event()["data"])["status"]

    def rest(self) -> list[str]:
        return [line for line in self.lines if line]

    def close(self) -> None:
        self.context.__exit__(None, None, None)
