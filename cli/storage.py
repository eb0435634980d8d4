"""`imagequeue storage init`: make the storage ready, and say what its server cannot do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

import typer

from cli.errors import reported
from cli.keys import AsJson
from cli.output import print_json
from imagequeue.media.bucket import S3Storage
from imagequeue.media.bucket_setup import set_up_bucket
from imagequeue.media.bucket_trial import Finding
from imagequeue.media.opening import open_storage
from imagequeue.settings import Settings, load_settings

app = typer.Typer(name="storage", help="Where images are kept.", no_args_is_help=True)


@app.callback()
def _commands() -> None:
    """A callback makes typer treat `storage` as a group of commands, even of a single one."""


@app.command("init")
@reported
def init(
    *,
    private: Annotated[
        bool, typer.Option("--private", help="Strangers may not read images, even with their URL.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make the bucket and its policy, and try what is needed of it; harmless to repeat."""
    if as_json:
        findings = _findings(load_settings(), public=not private)
        print_json({"data": [asdict(finding) for finding in findings]})
    else:
        show_set_up(load_settings(), public=not private)


def show_set_up(settings: Settings, *, public: bool = True) -> None:
    """Make the storage of the settings ready, and print a line after each step.

    A line that begins with `!` asks for attention.

    Raises:
        StorageUnavailable: the storage takes no objects.
    """
    for finding in _findings(settings, public=public):
        typer.echo(f"{'  ' if finding.works else '! '}{finding.step}: {finding.sentence}")


def _findings(settings: Settings, *, public: bool) -> Iterator[Finding]:
    storage = open_storage(settings.storage_url, settings.s3_endpoint_url, settings.s3_presign_endpoint_url)
    if isinstance(storage, S3Storage):
        yield from set_up_bucket(storage, public=public)
    else:
        storage.check_write()
        yield Finding(
            "directory", True, "It takes files, and the API serves them; there is no bucket to make."
        )
