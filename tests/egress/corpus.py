"""The sample of the guard's corpus: rows of text, reason and the moment of the refusal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

_FILE = Path(__file__).parent.parent / "data" / "ssrf_sample.tsv"
_ADDRESS = re.compile(r"[0-9a-f.:]*[.:][0-9a-f.:]*")


@dataclass(frozen=True)
class Row:
    """One line of the corpus."""

    text: str
    why: str
    refused_at: str


def rows() -> list[Row]:
    lines = _FILE.read_text(encoding="utf-8").splitlines()
    return [
        Row(text.encode().decode("unicode_escape"), why, moment)
        for text, why, moment in (line.split("\t") for line in lines)
    ]


def addresses_in(text: str) -> Iterator[str]:
    """Yield every address that `text` spells plainly."""
    for word in _ADDRESS.findall(text):
        try:
            yield str(ip_address(word.strip(".")))
        except ValueError:
            continue


def connect_addresses() -> set[str]:
    """The addresses that the sample names: those of its connect rows, and the literals in its URLs."""
    spelled = {address for row in rows() if row.refused_at == "connect" for address in addresses_in(row.why)}
    for row in rows():
        try:
            host = urlsplit(row.text).hostname or ""
            spelled.add(str(ip_address(host)))
        except ValueError:
            continue
    return spelled - {"1.1.1.1", "2.2.2.2"}
