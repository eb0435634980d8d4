"""The console script `imagequeue`. Commands import what is heavy when they run, so that `--help` is quick."""

import typer

from cli.up import up

app = typer.Typer(
    name="imagequeue",
    help="An asynchronous job queue for image generation, with webhooks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(up)


@app.callback()
def _imagequeue() -> None:  # pyright: ignore[reportUnusedFunction] -- keeps `up` a command while it is the only one
    """Run and use an image queue."""


def main() -> None:
    """Run the command that the command line names."""
    app()
