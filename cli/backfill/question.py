"""The question before anything is paid."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import typer

from cli.backfill.display import BackfillDisplay
from cli.backfill.exits import WrongUse


@dataclass(frozen=True, slots=True)
class Question:
    """Shows what a file asks for and asks whether it shall run; `yes`: it shall."""

    display: BackfillDisplay
    yes: bool

    def agreed(self, file_id: str, lines: int) -> bool:
        """Whether the batch of this file is to be created.

        Raises:
            WrongUse: nobody can be asked.
        """
        del file_id
        self.display.say(f"{lines:,} lines")
        if self.yes:
            return True
        if not sys.stdin.isatty():
            raise WrongUse("there is no terminal to ask at: --yes runs the file without a question")
        return typer.confirm("Run them?", err=True)
