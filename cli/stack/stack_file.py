"""`DATA_DIR/stack.json`: how other programs find a running stack (docs/design/contract.md, "Commands")."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.stack.supervisor import private_file


@dataclass(frozen=True)
class StackFile:
    """The file at `path`, mode 0600, replaced as a whole so that a reader never sees half of it.

    Attributes:
        path: where it is.
        api_url: where the API answers.
        env: what another `imagequeue` command needs in its environment to work on this stack.
    """

    path: Path
    api_url: str
    env: Mapping[str, str]

    def write(self, running: Sequence[tuple[str, int]]) -> None:
        """Write it with the name and pid of each process that runs."""
        content = {
            "api_url": self.api_url,
            "database_url": self.env["IMAGEQUEUE_DATABASE_URL"],
            "redis_url": self.env["IMAGEQUEUE_REDIS_URL"],
            "env": dict(self.env),
            "processes": [{"name": name, "pid": pid} for name, pid in running],
        }
        private_file.replace(self.path, json.dumps(content, indent=2) + "\n")

    def remove(self) -> None:
        """Remove it: only a stack that runs has the file."""
        self.path.unlink(missing_ok=True)
