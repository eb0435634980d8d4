"""`imagequeue demo`."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer


def demo(
    *,
    output: Annotated[Path, typer.Option(help="Folder for the images.", file_okay=False)] = Path("demo"),
    timeout: Annotated[float, typer.Option(min=1, help="Seconds until the demo gives up.")] = 150.0,
) -> None:
    """Start a stack of its own, serve real jobs with the simulator, stop everything."""
    import httpx  # noqa: PLC0415  # heavy imports belong to the command that needs them

    from cli.demo.deadline import DemoDeadline  # noqa: PLC0415
    from cli.demo.display import Display  # noqa: PLC0415
    from cli.demo.errors import DemoFailed  # noqa: PLC0415
    from cli.demo.run import run  # noqa: PLC0415
    from cli.output import console  # noqa: PLC0415
    from imagequeue.signals import exit_on  # noqa: PLC0415

    exit_on(signal.SIGTERM, signal.SIGHUP)  # through every `finally`, so that the stack is stopped
    display = Display(console)
    try:
        images = run(output, display, DemoDeadline.after(timeout))
    except (DemoFailed, httpx.HTTPError) as failed:
        typer.echo(f"imagequeue demo failed: {failed}", err=True)
        raise typer.Exit(1) from None
    display.say(f"{len(images)} images in {output}/")
