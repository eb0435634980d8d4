"""The URL of Redis as people have it, read once for both libraries that connect to it.

redis-py and Kombu each read URLs in a way of their own: what one takes the other ignores, and Kombu verifies
no server of a `rediss://` unless told. So both are given what is read here. What is not read here is refused
by its name, and no message repeats what may be a part of the password.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from imagequeue.domain.errors import ConfigurationError

DEFAULT_PORT = 6379
_TLS = {"redis": False, "valkey": False, "rediss": True, "valkeys": True}
_SOCKETS = ("unix", "redis+socket")
_ELSEWHERE = re.compile(r"(redis|rediss|valkey|valkeys)?\+?(sentinel|cluster)")
_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_OF_TLS = (*_FILES, "ssl_password", "ssl_cert_reqs", "ssl_check_hostname")
_PARAMETERS = ("db", "username", "password", *_OF_TLS)
_UNREADABLE = "it cannot be read; @ : / ? # and % in a password are written %40 %3A %2F %3F %23 and %25"
_DEMANDS = {"required": "required", "optional": "required", "none": "none"}
"""What a client demands of the server's certificate. OpenSSL's clients know no "optional": it is required."""
_TRUTHS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where Redis is, and how a client makes itself known.

    Attributes:
        host: a name or an address; empty where `socket` is set.
        port: of the host.
        socket: the path of a Unix socket, or None.
        db: the number of the database.
        username: None: the server's default user.
        password: None: none is sent.
        tls: None without TLS, or what `redis.SSLConnection` takes: `ssl_ca_certs`, `ssl_check_hostname` ...
        prefix: what the name of every key and channel begins with.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    socket: str | None = None
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: Mapping[str, Any] | None = field(default=None, repr=False)
    prefix: str = ""


def read_redis_url(url: str, ca_file: Path | None = None) -> RedisAddress:
    """Read a URL of Redis.

    Args:
        url: `redis://`, `rediss://` (TLS), the same with `valkey`, or `unix://` with the path of a socket.
        ca_file: certificates (PEM) that are trusted besides the public ones; `ssl_ca_certs` goes before it.

    Raises:
        ConfigurationError: a part is unknown or malformed; the message names it.
    """
    text = url.strip()
    scheme = text.partition("://")[0].lower()
    if "://" not in text or scheme not in (*_TLS, *_SOCKETS):
        raise _refusal(_another(scheme) if "://" in text else "not a URL such as redis://host:6379/0")
    parts, query = _split(text)
    username = query.get("username") or unquote(parts.username or "") or None
    password = query.get("password") or unquote(parts.password or "") or None
    if scheme in _SOCKETS:
        if _tls_names(query) or ca_file or not parts.path.strip("/") or parts.hostname:
            raise _refusal(f"{scheme}:// is followed by the path of a socket, as in unix:///run/redis.sock")
        return RedisAddress("", DEFAULT_PORT, unquote(parts.path), _db("", query), username, password)
    tls = _tls(query, ca_file) if _TLS[scheme] else _no_tls(query, ca_file)
    host = unquote(parts.hostname or "127.0.0.1")
    db = _db(parts.path, query)
    return RedisAddress(host, parts.port or DEFAULT_PORT, None, db, username, password, tls)


def _another(scheme: str) -> str:
    """What is said of a scheme that is not ours; only a known one is repeated."""
    if _ELSEWHERE.fullmatch(scheme):
        return f"{scheme}:// is not supported, only a single server; write redis:// or rediss://"
    return "not a URL such as redis://host:6379/0 or rediss://host:6379/0"


def _split(text: str) -> tuple[SplitResult, dict[str, str]]:
    """The URL's parts and its parameters."""
    try:
        parts = urlsplit(text)
        hosts = parts.netloc.rpartition("@")[2]
        if "," not in hosts:
            _ = parts.port
    except ValueError:
        raise _refusal(_UNREADABLE) from None
    if "@" in parts.path + parts.query or parts.fragment or not text.isprintable() or " " in text:
        raise _refusal(_UNREADABLE)  # a part of the password that was not written with %
    if "," in hosts or ";" in hosts:
        raise _refusal("it names several hosts; only a single server is supported")
    return parts, _parameters(parts.query)


def _parameters(text: str) -> dict[str, str]:
    pairs = parse_qsl(text, keep_blank_values=True)
    found = dict(pairs)
    for name in found:
        if name not in _PARAMETERS:
            known = ", ".join(_PARAMETERS)
            raise _refusal(f"the parameter {name[:40]!r} is unknown; known are {known}")
    if len(found) < len(pairs):
        raise _refusal("a parameter is given twice")
    return found


def _db(path: str, query: Mapping[str, str]) -> int:
    given = {number for number in (path.strip("/"), query.get("db", "")) if number}
    if len(given) > 1 or not all(number.isascii() and number.isdecimal() for number in given):
        raise _refusal("the database is a number, as in redis://host:6379/0, and given once")
    return int(given.pop()) if given else 0


def _tls(query: Mapping[str, str], ca_file: Path | None) -> dict[str, Any]:
    """What a TLS connection is given; it verifies the server unless the URL says otherwise."""
    demand = query.get("ssl_cert_reqs", "required").lower().removeprefix("cert_")
    check = query.get("ssl_check_hostname", "true").lower()
    if demand not in _DEMANDS:
        raise _refusal("ssl_cert_reqs is required or none")
    if check not in _TRUTHS:
        raise _refusal("ssl_check_hostname is true or false")
    trusted = {"ssl_ca_certs": str(ca_file)} if ca_file else {}
    given = {name: query[name] for name in (*_FILES, "ssl_password") if query.get(name)}
    verified = _DEMANDS[demand] != "none"
    return {
        **trusted,
        **given,
        "ssl_cert_reqs": _DEMANDS[demand],
        "ssl_check_hostname": verified and _TRUTHS[check],
    }


def _no_tls(query: Mapping[str, str], ca_file: Path | None) -> None:
    """Refuse what only TLS can do: whoever writes it believes that the server is verified."""
    named = _tls_names(query)
    if named:
        raise _refusal(f"{named[0]} needs rediss://, which is TLS")
    if ca_file:
        raise ConfigurationError("IMAGEQUEUE_REDIS_CA_FILE: the URL of Redis has to be rediss://")


def _tls_names(query: Mapping[str, str]) -> list[str]:
    return [name for name in _OF_TLS if name in query]


def _refusal(reason: str) -> ConfigurationError:
    return ConfigurationError(f"IMAGEQUEUE_REDIS_URL: {reason}")
