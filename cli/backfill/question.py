"""The question before anything is paid."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import typer

from cli.backfill.display import BackfillDisplay
from cli.backfill.estimate import estimated, read_estimate
from cli.backfill.exits import WrongUse
from cli.backfill.server import BatchServer, Patience


@dataclass(frozen=True, slots=True)
class Question:
    """Shows what a file would cost and asks whether it shall run; `yes`: it shall."""

    server: BatchServer
    display: BackfillDisplay
    name: str
    yes: bool

    def agreed(self, patience: Patience, file_id: str) -> bool:
        """Whether the batch of this file is to be created.

        Raises:
            WrongUse: lines of it are wrong, or nobody can be asked.
            RemoteRefusal, RemoteAway: as `read_estimate`.
        """
        if self.yes:
            return True
        self.display.say(estimated(read_estimate(self.server, patience, file_id, self.name)))
        if not sys.stdin.isatty():
            raise WrongUse("there is no terminal to ask at: --yes runs the file without a question")
        return typer.confirm("Run it?", err=True)
