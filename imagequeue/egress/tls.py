"""TLS settings for outgoing requests: certificates are always verified against the name in the URL."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import certifi

from imagequeue.domain.errors import ConfigurationError


class _ClientContext(ssl.SSLContext):
    """A context whose protocol list is set once, when it is made.

    httpcore sets it before every handshake, also on a context that is shared; OpenSSL frees and replaces the
    list then, while another thread may be copying it.
    """

    _settled: bool = False

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        if not self._settled:
            super().set_alpn_protocols(alpn_protocols)
            self._settled = True


def guard_tls_context(ca_file: Path) -> ssl.SSLContext:
    """Make the context of the egress guard: it trusts those of `ca_file` (PEM) and the public ones.

    Raises:
        ConfigurationError: the file of IMAGEQUEUE_EGRESS_CA_FILE cannot be read, or holds no certificate.
    """
    context = tls_context()
    try:
        context.load_verify_locations(cafile=ca_file)
    except OSError as error:
        raise ConfigurationError(
            f"IMAGEQUEUE_EGRESS_CA_FILE: no certificates (PEM) can be read from {ca_file}"
        ) from error
    return context


@cache
def public_tls_context() -> ssl.SSLContext:
    """The one context of all clients that trust the public authorities alone; reading those takes 20 ms."""
    return tls_context()


def tls_context(authorities: str | None = None) -> ssl.SSLContext:
    """Make a context that may be shared by threads.

    It trusts the operating system's authorities and those of `certifi` (a container may have none of the
    former), or only `authorities` (PEM) if given.
    """
    context = _ClientContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["http/1.1"])
    context.hostname_checks_common_name = False
    if authorities is not None:
        context.load_verify_locations(cadata=authorities)
    else:
        context.load_default_certs()
        context.load_verify_locations(certifi.where())
    return context
