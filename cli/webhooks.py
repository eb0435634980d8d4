"""`imagequeue webhooks`: the delivery log, redelivery, recovery and endpoints, over HTTP."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from cli import webhook_endpoints
from cli.errors import reported
from cli.output import console, print_json
from cli.remote import Remote, remote
from cli.tables import Column, print_table

app = typer.Typer(
    name="webhooks",
    help="Webhooks: their log, sending them again, endpoints.",
    no_args_is_help=True,
)
app.add_typer(webhook_endpoints.app)

RequestId = Annotated[str, typer.Argument(metavar="REQUEST_ID", help="The id that submit printed.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

COLUMNS = (
    Column("url", prose=True),
    Column("attempt"),
    Column("state", rank=2),
    Column("at", rank=3),
    Column("ms", rank=4),
    Column("outcome", rank=1),
    Column("answer", rank=5, prose=True),
)

MOST_CHARACTERS = 100
"""Of a cell: an answer may have kilobytes, and `--json` shows them."""

LOOK_SECONDS = 1.0
"""Between two looks at a recovery, which makes a step a second."""


@app.command()
@reported
def deliveries(request_id: RequestId, *, as_json: AsJson = False) -> None:
    """Show the last 50 delivery attempts of each of a job's webhooks."""
    with remote() as server:
        found = server.deliveries(request_id)
    if as_json:
        print_json(found)
        return
    print_table(COLUMNS, [row for one in found["data"] for row in _rows(one)])


@app.command()
@reported
def redeliver(request_id: RequestId, *, as_json: AsJson = False) -> None:
    """Send the webhooks of a job again."""
    with remote() as server:
        answer = server.redeliver(request_id)
    if as_json:
        print_json(answer)
    else:
        console.print(f"{answer['redelivered']} due now")


@app.command()
@reported
def recover(
    since: Annotated[str, typer.Option(help="Of events from this time on (RFC 3339).")],
    *,
    until: Annotated[str | None, typer.Option(help="And before this one; now if it is left out.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until all are due.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send every webhook again that could not be delivered, of a range of time."""
    span = {"since": since} | ({"until": until} if until else {})
    with remote() as server:
        found = server.recover(span)
        if wait:
            found = _finished(server, found)
    _show(found, as_json=as_json)


@app.command()
@reported
def recovery(
    recovery_id: Annotated[str, typer.Argument(metavar="ID", help="The id that recover printed.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show how far a recovery has come."""
    with remote() as server:
        found = server.recovery(recovery_id)
    _show(found, as_json=as_json)


def _finished(server: Remote, found: dict[str, Any]) -> dict[str, Any]:
    while found["state"] == "RUNNING":
        time.sleep(LOOK_SECONDS)
        found = server.recovery(found["id"])
    return found


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    console.print(f"{found['id']}  {found['state']}  {found['redelivered']} due again", highlight=False)
    if found["skipped"]:
        console.print(f"{found['skipped']} had too many attempts already")


def _rows(one: dict[str, Any]) -> list[tuple[str, ...]]:
    attempts: list[dict[str, Any]] = one["attempts"] or [{}]
    return [_row(one, made) for made in attempts]


def _row(one: dict[str, Any], made: dict[str, Any]) -> tuple[str, ...]:
    others = (made.get(name) for name in ("started_at", "latency_ms", "outcome", "response"))
    shown = (one["url"], made.get("number"), one["state"], *others)
    return tuple("" if value is None else str(value)[:MOST_CHARACTERS] for value in shown)
