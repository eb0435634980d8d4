"""`imagequeue backfill run`: send the file once, create the batch once, and download each image once.

Each step is remembered before the next one begins. The batch is created under an idempotency key that was
written down before the first byte was sent, so a process that is killed anywhere is repeated without harm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.backfill.directory import BackfillDirectory, RunState, backfill_directory
from cli.backfill.display import BackfillDisplay
from cli.backfill.estimate import refused
from cli.backfill.exits import Exit, WrongUse, exit_of
from cli.backfill.follow import Follower
from cli.backfill.names import DEFAULT_TEMPLATE, checked_template
from cli.backfill.server import BatchServer, Body, Patience
from cli.backfill.source import LineOptions, PreparedLines, digest_of, prepare
from imagequeue.failpoint import failpoint

_CHANGEABLE = {"budget": "budget_usd", "max_failure_rate": "max_failure_rate"}
"""Options that a batch takes while it runs, and what the server calls them."""


_REMEDIES = {
    "operator": "by hand; `imagequeue backfill resume {out}` lets it go on",
    "failure_rate": "too many of the last lines failed; `imagequeue backfill errors {out}` says why,"
    " `imagequeue backfill resume {out}` lets it go on",
    "unknown_outcomes": "nobody knows whether some lines were served;"
    " `imagequeue backfill retry {out} --code unknown_outcome` runs them again",
    "wallet": "the wallet does not suffice for the next line; it goes on by itself after a deposit",
    "budget": "the budget does not suffice for the next line;"
    " the same command goes on with a higher --budget",
    "no_deployment": "no deployment can serve the next line; it goes on by itself when one can",
}
"""What lets a batch go on, by the reason of its pause."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the user gave; None: left out, which means what it meant when the directory was begun."""

    lines: LineOptions
    budget: str | None = None
    max_failure_rate: float | None = None
    name_template: str | None = None

    def given(self) -> dict[str, Any]:
        """Those that were given."""
        own = {
            "budget": self.budget,
            "max_failure_rate": self.max_failure_rate,
            "name_template": self.name_template and checked_template(self.name_template),
        }
        return self.lines.given() | {name: value for name, value in own.items() if value is not None}


@dataclass(frozen=True, slots=True)
class BackfillRun:
    """A run of the command. `agreed` shows what the file needs and says whether it is to run."""

    server: BatchServer
    display: BackfillDisplay
    source: Path
    out: Path
    options: RunOptions
    agreed: Callable[[Patience, str], bool]

    def run(self) -> Exit:
        """Run, or go on with what was begun.

        Raises:
            WrongUse: an option, the file or the directory is wrong; nothing runs and nothing was charged.
            RemoteRefusal, RemoteAway: the server refuses, or is away for too long.
        """
        given, digest = self.options.given(), digest_of(self.source)
        patience = Patience()
        with backfill_directory(self.out) as directory:
            state = self._begun(directory, given, digest)
            if state.batch_id is None and not self._create(patience, directory, state):
                return Exit.CANCELLED
            self._change(patience, directory, state, given)
            follower = Follower(self.server, patience, directory, state)
            with self.display.following():
                batch = follower.follow(self.display)
            return self._ended(directory, state, batch)

    def _begun(self, directory: BackfillDirectory, given: Mapping[str, Any], digest: str) -> RunState:
        """What the directory remembers of this file, or a new beginning."""
        state = directory.load()
        if state is None:
            return RunState(digest, {"name_template": DEFAULT_TEMPLATE, **given})
        if state.source_sha256 != digest:
            raise WrongUse(f"--out {self.out} was begun with another file than {self.source}")
        for name, value in given.items():
            if name not in _CHANGEABLE and state.terms.get(name) != value:
                raise WrongUse(f"--out {self.out} was begun with {name} {state.terms.get(name)}, not {value}")
        return state

    def _create(self, patience: Patience, directory: BackfillDirectory, state: RunState) -> bool:
        """Send the file and create the batch; False: the user does not want it."""
        prepared = self._prepared(directory, state)
        if state.file_id is None:
            with self.display.upload(prepared.path.stat().st_size) as told:
                state.file_id = patience.ask(lambda: self.server.upload(prepared.path, told))
            failpoint("backfill.after_upload")
            directory.save(state)
        file_id = state.file_id
        if not state.agreed and not self._wanted(patience, directory, file_id):
            return False
        state.agreed = True  # whoever is killed from here on may have created the batch
        directory.save(state)
        terms = {"input_file_id": file_id} | {
            sent: state.terms[name] for name, sent in _CHANGEABLE.items() if name in state.terms
        }
        state.batch_id = patience.ask(lambda: self.server.create(terms, state.idempotency_key))
        failpoint("backfill.after_create")
        directory.save(state)
        directory.lines.unlink(missing_ok=True)
        return True

    def _wanted(self, patience: Patience, directory: BackfillDirectory, file_id: str) -> bool:
        """Ask the user. Where the file is wrong or is not wanted, the directory is free for another one."""
        try:
            wanted = self.agreed(patience, file_id)
        except WrongUse:
            directory.forget()
            raise
        if not wanted:
            directory.forget()
        return wanted

    def _prepared(self, directory: BackfillDirectory, state: RunState) -> PreparedLines:
        """The lines to send. The key is written down before a byte is sent."""
        names = ("model", "ratio", "output_format", "count")
        options = LineOptions(**{name: state.terms.get(name) for name in names})
        prepared = prepare(self.source, directory.lines, options)
        if prepared.unused:
            self.display.say(f"columns that are not used: {', '.join(prepared.unused)}")
        state.clashing = prepared.clashing
        directory.save(state)
        failpoint("backfill.after_key")
        return prepared

    def _change(
        self, patience: Patience, directory: BackfillDirectory, state: RunState, given: Mapping[str, Any]
    ) -> None:
        """Give a batch that was begun with other terms those of this command."""
        changed = {
            name: given[name]
            for name in _CHANGEABLE
            if name in given and given[name] != state.terms.get(name)
        }
        if changed:
            batch_id = state.batch_id or ""
            terms = {_CHANGEABLE[name]: value for name, value in changed.items()}
            patience.ask(lambda: self.server.change(batch_id, terms))
            state.terms |= changed
            directory.save(state)

    def _ended(self, directory: BackfillDirectory, state: RunState, batch: Body) -> Exit:
        code = exit_of(batch, state.missing)
        if batch["status"] == "failed":
            directory.forget()  # nothing was made of it, so the corrected file may use the directory
            raise refused(self.source.name, batch["parts"][0]["errors"])
        self.display.say(_summary(batch, state, self.out))
        return code


def _summary(batch: Body, state: RunState, out: Path) -> str:
    counts = batch["counts"]
    told = f"{batch['id']} {batch['status']}: {counts['completed'] + counts['skipped']:,} of"
    lines = [f"{told} {counts['total']:,} lines have their images in {out}; USD {batch['spent_usd']} spent"]
    lines += [f"paused: {_REMEDIES[reason].format(out=out)}" for reason in batch["reasons"]]
    if counts["failed"]:
        lines.append(f"{counts['failed']:,} failed: `imagequeue backfill errors {out}` says why")
    if state.missing:
        lines.append(f"{state.missing:,} images could not be downloaded; the same command tries them again")
    return "\n".join(lines)
