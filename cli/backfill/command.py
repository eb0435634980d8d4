"""`imagequeue backfill`: a file of prompts becomes a folder of images, however long that takes."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.backfill.exits import INTERRUPTED, WrongUse, usage_reported

if TYPE_CHECKING:
    from cli.backfill.run import RunOptions
    from cli.backfill.server import BatchServer

app = typer.Typer(name="backfill", help="A file of prompts becomes a folder of images.", no_args_is_help=True)

File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="JSONL, CSV with a header, or text with a prompt a line; by its name."
    ),
]
Which = Annotated[str, typer.Argument(metavar="BATCH", help="The batch's id, or the DIR of its images.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Model = Annotated[str | None, typer.Option(help="Id of the model, where the file does not say it.")]
Ratio = Annotated[str | None, typer.Option(help="Aspect ratio, such as 16:9, or size, such as 1024x1024.")]
Format = Annotated[str | None, typer.Option("--format", help="png, jpeg or webp.")]
Count = Annotated[int | None, typer.Option("--count", "-n", help="How many images of each prompt.")]


@app.command()
@usage_reported
def run(  # noqa: PLR0913  # the command's options
    file: File,
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="For the images and manifest.csv.")],
    model: Model = None,
    ratio: Ratio = None,
    output_format: Format = None,
    count: Count = None,
    budget: Annotated[str | None, typer.Option(metavar="USD", help="It is never exceeded.")] = None,
    max_failure_rate: Annotated[
        float | None, typer.Option(help="Pause when more of the last lines fail: 0.5; 1 is never.")
    ] = None,
    name_template: Annotated[
        str | None, typer.Option(help="Of files: {custom_id}-{n}.{ext}; also {line}, and folders.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before anything is paid.")] = False,
) -> None:
    """Send a file, and download its images as they come. The same command again goes on where it was."""
    from cli.backfill.run import RunOptions  # noqa: PLC0415  # heavy imports belong to their command
    from cli.backfill.source import LineOptions  # noqa: PLC0415

    lines = LineOptions(model, ratio, output_format, count)
    raise typer.Exit(_ran(file, out, RunOptions(lines, budget, max_failure_rate, name_template), yes=yes))


@app.command()
@usage_reported
def estimate(  # noqa: PLR0913  # the command's options
    file: File,
    *,
    model: Model = None,
    ratio: Ratio = None,
    output_format: Format = None,
    count: Count = None,
    as_json: AsJson = False,
) -> None:
    """Show what a file would cost and how long it would take; nothing runs, and nothing is charged."""
    from cli.backfill.display import BackfillDisplay  # noqa: PLC0415
    from cli.backfill.estimate import estimate_file, estimated  # noqa: PLC0415
    from cli.backfill.source import LineOptions  # noqa: PLC0415
    from cli.output import notices, print_json  # noqa: PLC0415

    options = LineOptions(model, ratio, output_format, count)
    with _server() as server:
        found = estimate_file(server, BackfillDisplay(notices, file.name), file, options)
    if as_json:
        print_json(found)
    else:
        typer.echo(estimated(found))


@app.command()
@usage_reported
def status(which: Which, *, as_json: AsJson = False) -> None:
    """Show how far a batch is, and why it is not faster."""
    with _server() as server:
        _show(server.progress(_batch_id(which)), as_json=as_json)


@app.command("list")
@usage_reported
def list_batches(
    *,
    state: Annotated[str | None, typer.Option(help="Only of these states, separated by commas.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show the newest batches of the account."""
    from cli.backfill.tables import print_batches  # noqa: PLC0415

    with _server() as server:
        print_batches(server.batches(state, limit), as_json=as_json)


@app.command()
@usage_reported
def pause(which: Which, *, as_json: AsJson = False) -> None:
    """Let no call begin; calls that were sent are finished and kept."""
    _act(which, "pause", as_json=as_json)


@app.command()
@usage_reported
def resume(which: Which, *, as_json: AsJson = False) -> None:
    """Let a batch go on that is paused."""
    _act(which, "resume", as_json=as_json)


@app.command()
@usage_reported
def cancel(which: Which, *, as_json: AsJson = False) -> None:
    """End a batch; what calls in flight bring is kept and paid."""
    _act(which, "cancel", as_json=as_json)


@app.command()
@usage_reported
def retry(
    which: Which,
    *,
    code: Annotated[list[str] | None, typer.Option(help="Only errors with this code; several times.")] = None,
    as_json: AsJson = False,
) -> None:
    """Let lines that failed run again; nothing that succeeded is asked or paid for again."""
    _act(which, "retry", {"codes": code} if code else {}, as_json=as_json)


@app.command()
@usage_reported
def errors(which: Which, *, as_json: AsJson = False) -> None:
    """Show the errors of a batch's lines by code, the most frequent first."""
    from cli.backfill.tables import print_errors  # noqa: PLC0415

    with _server() as server:
        print_errors(server.errors(_batch_id(which)), as_json=as_json)


def _ran(file: Path, out: Path, options: RunOptions, *, yes: bool) -> int:
    from cli.backfill.display import BackfillDisplay  # noqa: PLC0415
    from cli.backfill.question import Question  # noqa: PLC0415
    from cli.backfill.run import BackfillRun  # noqa: PLC0415
    from cli.output import notices  # noqa: PLC0415

    display = BackfillDisplay(notices, file.name)
    with _server() as server:
        question = Question(server, display, file.name, yes=yes)
        run = BackfillRun(server, display, file, out, options, question.agreed)
        try:
            return run.run()
        except KeyboardInterrupt:
            display.say("Stopped here; a batch goes on at the server, and the same command goes on with it")
            return INTERRUPTED


@contextmanager
def _server() -> Generator[BatchServer]:
    from cli.backfill.server import BatchServer  # noqa: PLC0415
    from cli.remote import remote  # noqa: PLC0415

    with remote() as found:
        yield BatchServer(found)


def _act(which: str, verb: str, body: dict[str, Any] | None = None, *, as_json: bool) -> None:
    with _server() as server:
        _show(server.act(_batch_id(which), verb, body), as_json=as_json)


def _batch_id(which: str) -> str:
    """The batch that is named, or that of a directory.

    Raises:
        WrongUse: nothing was begun in the directory.
    """
    from cli.backfill.directory import load_state  # noqa: PLC0415

    if not Path(which).is_dir():
        return which
    state = load_state(Path(which))
    if state is None or state.batch_id is None:
        raise WrongUse(f"{which}: no batch was created there yet")
    return state.batch_id


def _show(batch: dict[str, Any], *, as_json: bool) -> None:
    from cli.backfill.tables import print_batch  # noqa: PLC0415

    print_batch(batch, as_json=as_json)
