"""`imagequeue webhooks endpoints`: where your account is told of every job and batch, over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.errors import reported
from cli.output import console, print_json
from cli.remote import remote
from cli.tables import Column, print_table

app = typer.Typer(
    name="endpoints", help="URLs that are told of events, whatever the request.", no_args_is_help=True
)

EndpointId = Annotated[str, typer.Argument(metavar="ID", help="The id that list prints, such as we_0199....")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Events = Annotated[
    list[str] | None,
    typer.Option("--event", help="A type such as request.completed, or request.*; may be given repeatedly."),
]

COLUMNS = (
    Column("id"),
    Column("name", rank=2, prose=True),
    Column("url", rank=1, prose=True),
    Column("events", rank=3, prose=True),
)


@app.command("list")
@reported
def list_endpoints(*, as_json: AsJson = False) -> None:
    """Show the endpoints of the account, newest first."""
    with remote() as server:
        found = server.webhook_endpoints()
    if as_json:
        print_json(found)
        return
    print_table(COLUMNS, [_row(one) for one in found["data"]])


@app.command()
@reported
def create(
    name: Annotated[str, typer.Argument(help="What you call it.")],
    url: Annotated[str, typer.Argument(help="Where it is, by https.")],
    *,
    events: Events = None,
    as_json: AsJson = False,
) -> None:
    """Make an endpoint, which is told of all events unless you name some; prints its secret, once."""
    fields = {"name": name, "url": url, "event_types": events or ["request.*", "batch.*"]}
    with remote() as server:
        _show_secret(server.create_webhook_endpoint(fields), as_json=as_json)


@app.command()
@reported
def update(
    endpoint_id: EndpointId,
    *,
    name: Annotated[str | None, typer.Option(help="What you call it from now on.")] = None,
    url: Annotated[str | None, typer.Option(help="Where it is from now on.")] = None,
    events: Events = None,
    as_json: AsJson = False,
) -> None:
    """Change the name, the URL or the events of an endpoint; what is left out stays."""
    given: dict[str, Any] = {"name": name, "url": url, "event_types": events}
    fields = {key: value for key, value in given.items() if value is not None}
    with remote() as server:
        changed = server.change_webhook_endpoint(endpoint_id, fields)
    if as_json:
        print_json(changed)
        return
    print_table(COLUMNS, [_row(changed)])


@app.command()
@reported
def delete(endpoint_id: EndpointId, *, as_json: AsJson = False) -> None:
    """Delete an endpoint; what waits for it is not sent any more."""
    with remote() as server:
        deleted = server.delete_webhook_endpoint(endpoint_id)
    if as_json:
        print_json(deleted)
    else:
        console.print("deleted")


@app.command("test")
@reported
def send_test(
    endpoint_id: EndpointId,
    *,
    event: Annotated[str, typer.Option(help="The type of the event.")] = "request.completed",
    as_json: AsJson = False,
) -> None:
    """Send an event with sample data to an endpoint now, once."""
    with remote() as server:
        told = server.test_webhook_endpoint(endpoint_id, event)
    if as_json:
        print_json(told)
    else:
        console.print(f"it answered {told['status_code']}", highlight=False)


@app.command("rotate-secret")
@reported
def rotate_secret(
    endpoint_id: EndpointId,
    *,
    overlap: Annotated[bool, typer.Option("--overlap", help="The old one signs too, for 24 hours.")] = False,
    as_json: AsJson = False,
) -> None:
    """Give an endpoint a new secret; prints it, once."""
    with remote() as server:
        _show_secret(server.rotate_endpoint_secret(endpoint_id, overlap=overlap), as_json=as_json)


def _show_secret(shown: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(shown)
        return
    console.print(f"{shown['id']}\n{shown['signing_secret']}", highlight=False, soft_wrap=True)


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    return one["id"], one["name"], one["url"], ", ".join(one["event_types"])
