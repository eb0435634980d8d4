"""`imagequeue submit`: queue a job over HTTP, and wait for it or download its images when asked to."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.errors import reported
from cli.watch import Out

DEFAULT_MODEL = "microsoft-mai-image-2-5"


@reported
def submit(  # noqa: PLR0913  # the command's options
    prompt: Annotated[str, typer.Argument(help="What the image shall show.")],
    *,
    model: Annotated[str, typer.Option(help="Id of the model.")] = DEFAULT_MODEL,
    count: Annotated[int, typer.Option("--count", "-n", help="How many images.")] = 1,
    ratio: Annotated[str, typer.Option(help="Aspect ratio, such as 16:9.")] = "auto",
    output_format: Annotated[str, typer.Option("--format", help="png, jpeg or webp.")] = "png",
    webhook: Annotated[str | None, typer.Option(help="URL to call when the job is final.")] = None,
    lane: Annotated[str | None, typer.Option(help="interactive or backfill.")] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="Makes repeating this command safe.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Wait until the job is final.")] = False,
    out: Out = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Queue a job and print its id."""
    from cli.progress import follow, keeping  # noqa: PLC0415  # heavy imports belong to their command
    from cli.remote import remote  # noqa: PLC0415

    body: dict[str, Any] = {
        "prompt": prompt,
        "num_images": count,
        "aspect_ratio": ratio,
        "output_format": output_format,
    }
    asked = {"X-Webhook-URL": webhook, "X-Lane": lane, "Idempotency-Key": idempotency_key}
    headers = {name: value for name, value in asked.items() if value is not None}
    with remote() as server, keeping(out) as downloads:
        queued = server.submit(model, body, headers)
        if watch or downloads:
            follow(server, [queued["request_id"]], downloads, as_json=as_json)
            return
    _print(queued, as_json=as_json)


def _print(queued: dict[str, Any], *, as_json: bool) -> None:
    from cli.output import print_json  # noqa: PLC0415

    if as_json:
        print_json(queued)
    else:
        typer.echo(queued["request_id"])
