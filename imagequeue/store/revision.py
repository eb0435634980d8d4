"""Whether the schema is the newest: one query, without Alembic, whose import takes longer than that."""

from __future__ import annotations

import re

from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from imagequeue.programs import FOLDER
from imagequeue.store.database import one_statement

_REVISION = re.compile(r'^(down_)?revision\b[^=\n]*= "([^"]+)"$', re.MULTILINE)


def newest() -> str:
    """The revision on which no other one builds, by the files of the migrations."""
    revisions, built_on = set[str](), set[str]()
    for file in FOLDER.joinpath("migrations", "versions").glob("*.py"):
        for down, name in _REVISION.findall(file.read_text(encoding="utf-8")):
            (built_on if down else revisions).add(name)
    (head,) = revisions - built_on
    return head


def is_newest(engine: Engine) -> bool:
    """Whether the database is at the newest revision; one without any schema is not.

    Raises:
        OperationalError: the database does not answer.
    """
    try:
        with one_statement(engine) as connection:
            stored = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    except ProgrammingError:  # no migration has run here yet
        return False
    return stored == [newest()]
