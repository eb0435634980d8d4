"""The database's URL as people have it, read into libpq's parameters.

libpq reads it, so its sockets, certificates and lists of hosts work as they do in `psql`. What SQLAlchemy's
form has besides is rewritten: `?host=a:5432&host=b:5432`, and `+` for a space.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from urllib.parse import quote, unquote, unquote_plus, urlencode

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from imagequeue.domain.errors import ConfigurationError

_SQLALCHEMY = "postgresql+psycopg"
_UNKNOWN_PARAMETER = re.compile(r'invalid URI query parameter: "\w+"')
"""libpq's only message that is repeated; the others may quote a part of the password."""
_UNREADABLE = "libpq cannot read it; @ : / ? # and % in a password are written %40 %3A %2F %3F %23 and %25"


def parameters_of(url: str) -> dict[str, str]:
    """What the URL says, as libpq's parameters: `host`, `options` and so on.

    Args:
        url: of libpq's or of SQLAlchemy's form; whose scheme it is, the settings have checked.

    Raises:
        ConfigurationError: libpq does not understand it. The message repeats no part that may be a password.
    """
    scheme, _, rest = url.strip().partition("://")
    address, _, query = rest.partition("?")
    pairs = _pairs(query, unquote_plus if scheme == _SQLALCHEMY else unquote)
    try:
        found = conninfo_to_dict(f"postgresql://{address}?{urlencode(_joined(pairs), quote_via=quote)}")
    except (ProgrammingError, ValueError) as error:
        unknown = _UNKNOWN_PARAMETER.search(str(error))
        raise _refusal(unknown[0] if unknown else _UNREADABLE) from None
    parameters = {name: str(value) for name, value in found.items() if value is not None}
    if "@" in parameters.get("dbname", "") or not _are_ports(parameters.get("port", "")):
        raise _refusal(_UNREADABLE)  # a `/` or `?` in the password: what is before it looks like a port
    return parameters


def _pairs(query: str, decoded: Callable[[str], str]) -> list[tuple[str, str]]:
    """Names and values; an `=` inside of a value, as in `options=-csearch_path=app`, is taken as it is."""
    parts = (part.partition("=") for part in query.split("&") if part)
    return [(decoded(name), decoded(value)) for name, _, value in parts]


def _joined(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The same with one list of hosts and one of ports, where a `host` stands for each server."""
    hosts = [value for name, value in pairs if name == "host"]
    ports = [_port(host) for host in hosts]
    if len(hosts) < 2 and not any(ports):  # noqa: PLR2004  # a list begins with two
        return list(pairs)
    names = [host.removesuffix(f":{port}") if port else host for host, port in zip(hosts, ports, strict=True)]
    joined = [("host", ",".join(names))] + ([("port", ",".join(ports))] if any(ports) else [])
    taken = {name for name, _ in joined}
    return joined + [pair for pair in pairs if pair[0] not in taken]


def _port(host: str) -> str:
    """The port behind a name or an IPv4 address; empty: there is none, or it is an IPv6 address."""
    name, colon, port = host.rpartition(":")
    return port if colon and port.isdecimal() and ":" not in name else ""


def _are_ports(text: str) -> bool:
    return all(port.isdecimal() or not port for port in text.split(","))


def _refusal(reason: str) -> ConfigurationError:
    return ConfigurationError(f"IMAGEQUEUE_DATABASE_URL: {reason}")
