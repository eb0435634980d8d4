"""What a process refuses at its start: a Redis that answers, and not as the settings say.

A Redis that is away is no reason to end, because nothing that must not be lost is in it. But one that is not
verified, or that takes no password of ours, will not come back by itself; and without it the limits on keys
would be off without a word.
"""

from __future__ import annotations

import contextlib
import ssl

import structlog
from redis import Redis
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from imagequeue.domain.errors import ConfigurationError
from imagequeue.redis_server.address import RedisAddress
from imagequeue.redis_server.client import open_redis

log = structlog.get_logger()

_AWAY = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
"""The other side closes the connection during the handshake, as a proxy does whose server is away."""

_CA_NAMES = "ssl_ca_certs of IMAGEQUEUE_REDIS_URL, or IMAGEQUEUE_REDIS_CA_FILE"


def refuse_misconfigured(address: RedisAddress) -> None:
    """Refuse an address whose server is there and cannot be used with it.

    Raises:
        ConfigurationError: the server is not the one that the certificates vouch for, or speaks no TLS; it
            refuses the login or the database; a file of certificates cannot be read.
    """
    if address.tls is not None:
        _refuse_files(address)
        if address.tls["ssl_cert_reqs"] == "none":
            log.warning("redis_not_verified", host=address.host, reason="ssl_cert_reqs=none")
    with contextlib.closing(open_redis(address, patience=2.0)) as redis:
        _refuse_answer(redis)


def _refuse_answer(redis: Redis) -> None:
    try:
        redis.ping()  # pyright: ignore[reportUnknownMemberType]  # its keyword arguments are untyped
    except AuthenticationError as error:
        raise _refusal(f"Redis refuses the login: {_line(error)}") from None
    except ResponseError as error:
        if "DB index" in str(error):
            raise _refusal(f"Redis has no such database: {_line(error)}") from None
    except (RedisError, OSError) as error:
        reason = _of_tls(error)
        if reason is not None:
            raise _refusal(f"the Redis there is not the one that is trusted: {_line(reason)}") from None


def _of_tls(error: BaseException | None) -> ssl.SSLError | None:
    """The fault of TLS that an exception of the library stands for; None: there is none, Redis is away."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return None if isinstance(error, _AWAY) else error
        error = error.__cause__ or error.__context__
    return None


def _refuse_files(address: RedisAddress) -> None:
    """Read the files as each connection will: there a missing one would look like a server that is away."""
    tls = address.tls or {}
    context = ssl.create_default_context()
    authorities, certificate = tls.get("ssl_ca_certs"), tls.get("ssl_certfile")
    try:
        if authorities:
            context.load_verify_locations(cafile=authorities)
    except OSError:
        raise ConfigurationError(
            f"{_CA_NAMES}: no certificates (PEM) can be read from {authorities}"
        ) from None
    try:
        if certificate:
            context.load_cert_chain(certificate, tls.get("ssl_keyfile"), tls.get("ssl_password", ""))
    except OSError:
        raise _refusal(f"no certificate with its key (PEM) can be read from {certificate}") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _refusal(reason: str) -> ConfigurationError:
    return ConfigurationError(f"IMAGEQUEUE_REDIS_URL: {reason}")
