"""The Postgres of the tests: the wheel's, or the one in the folder that `TEST_POSTGRES` names.

`TEST_POSTGRES=/usr/lib/postgresql/15 pytest tests/store` runs tests on Debian's. The folder has
`bin/postgres` and `bin/initdb`. Every statement of ours runs on Postgres 14 and later, so `.ci/run` names old
ones too.
"""

from __future__ import annotations

import os
from pathlib import Path

from cli.stack.servers.postgres import EmbeddedPostgres


def postgres(directory: Path, **settings: str) -> EmbeddedPostgres:
    """A Postgres with its data in `directory`, to be started; `settings` are the server's."""
    named = os.environ.get("TEST_POSTGRES")
    return EmbeddedPostgres(directory, settings, installation=Path(named).absolute() if named else None)
