"""The console script `imagequeue`.

Each command lives in a module of its own, which is imported only when the command line names it: the whole
program takes seconds to import where `imagequeue --help` should take none.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer

from cli.loading import loading


@dataclass(frozen=True)
class Command:
    """Where a command is: a function, or a `typer.Typer` with commands of its own, in `module`."""

    module: str
    attribute: str
    help: str

    def load(self) -> "Callable[..., Any] | typer.Typer":
        """Import it."""
        with loading():
            found: Callable[..., Any] | typer.Typer = getattr(import_module(self.module), self.attribute)
        return found


COMMANDS = {
    "up": Command("cli.up", "up", "Run the whole stack: Postgres, Redis, API, dispatcher, workers."),
    "api": Command("cli.api", "api", "Serve the HTTP API."),
    "dispatcher": Command("cli.dispatcher", "dispatcher", "Grant quota, claim jobs, sweep."),
    "worker": Command("cli.worker", "worker", "Call the image services and deliver webhooks."),
    "migrate": Command("cli.migrate", "migrate", "Bring the database's schema up to date."),
    "storage": Command("cli.storage", "app", "Make the bucket ready, and see what its server can do."),
    "simulator": Command("cli.simulator", "simulator", "The stand-in for the upstream services."),
    "submit": Command("cli.submit", "submit", "Queue a job over HTTP."),
    "status": Command("cli.watch", "status", "Show where jobs stand."),
    "watch": Command("cli.watch", "watch", "Wait until jobs are final."),
    "backfill": Command("cli.backfill.command", "app", "A file of prompts becomes a folder of images."),
    "webhooks": Command("cli.webhooks", "app", "Webhooks: their log, sending them again, endpoints."),
    "listen": Command("cli.listen", "listen", "A receiver of webhooks here, which verifies and prints them."),
    "demo": Command("cli.demo.command", "demo", "Try everything: a stack of its own, real jobs, images."),
    "env": Command("cli.env", "env", "Print the variables of a running stack, for a shell."),
    "catalog": Command("cli.catalog", "app", "Print an example of a catalog, check one, or reload it."),
    "deployments": Command("cli.deployments", "deployments", "The state of every deployment."),
    "keys": Command("cli.keys", "app", "Accounts and their API keys."),
    "wallet": Command("cli.wallet", "app", "What accounts have, hold and have spent."),
}


def application(words: Sequence[str]) -> typer.Typer:
    """All commands. Only those that `words` name are imported; `--help` lists the others as well."""
    app = typer.Typer(
        name="imagequeue",
        help="An asynchronous job queue for image generation, with webhooks.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    for name, command in COMMANDS.items():
        _add(app, name, command, command.load() if name in words else _unloaded)
    return app


def main() -> None:
    """Run the command that the command line names."""
    application(sys.argv[1:])()


def _add(app: typer.Typer, name: str, command: Command, loaded: "Callable[..., Any] | typer.Typer") -> None:
    if isinstance(loaded, typer.Typer):
        app.add_typer(loaded, name=name, help=command.help)
    else:
        app.command(name, help=command.help)(loaded)


def _options() -> None:
    """A callback makes typer treat `imagequeue` as a group of commands, even of a single one."""


def _unloaded() -> None:
    raise RuntimeError("a command ran that the command line does not name")
