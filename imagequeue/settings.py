"""Every setting, read from the environment once per process (docs/design/contract.md, "Environment").

An unknown `IMAGEQUEUE_*` variable is an error that names it; otherwise a misspelt one would silently leave
the default. An empty variable is one that is not set. Names with `_SERVICE_` or `_PORT` in them are ignored,
because Kubernetes sets such variables; so are those of the tests and of docker-compose.yml.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from ipaddress import ip_network
from math import ceil
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from imagequeue.domain.errors import ConfigurationError
from imagequeue.domain.webhooks import age_limit, parse_schedule
from imagequeue.redis_server.address import RedisAddress, read_redis_url

PREFIX = "IMAGEQUEUE_"
CLIENT_VARIABLES = frozenset({"IMAGEQUEUE_URL", "IMAGEQUEUE_KEY"})
"""Read by the client commands only (docs/design/contract.md, "Commands")."""

IMAGE_VARIABLE = "IMAGEQUEUE_IMAGE"
"""Read by docker-compose.yml only, which hands its whole .env to the processes."""

_TESTS_PREFIX = "IMAGEQUEUE_TEST_"
"""Begins what only the tests read; they start processes that inherit it."""


def _web_url(url: str) -> str:
    """An http(s) URL with a host, to which paths are appended."""
    parts = _split(url)
    if parts is None or parts[0] not in ("http", "https"):
        raise ValueError(f"{url[:200]!r} is not a URL such as https://host or http://host:9000")
    if "?" in url or "#" in url:
        raise ValueError("the URL must have no query and no fragment")
    return url


def _split(url: str) -> tuple[str, str] | None:
    """Scheme and host of a URL; None where it has no host, or a port that is none."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    plain = url.isprintable() and " " not in url
    return (parts.scheme, parts.hostname) if plain and parts.hostname else None


def _database_url(url: SecretStr) -> SecretStr:
    """A URL of Postgres, stripped: a secret's file ends with a newline. No message repeats its password."""
    text = url.get_secret_value().strip()
    scheme, found, _ = text.partition("://")
    if found and re.fullmatch(r"postgres(ql)?\+\w+", scheme) and scheme != "postgresql+psycopg":
        raise ValueError(f"{scheme}:// names the driver of another program; write postgresql://")
    if not found or scheme not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise ValueError("not a URL such as postgresql://user:password@host/database")
    return SecretStr(text)


def _origins(text: str) -> str:
    """Comma-separated origins, written as browsers send them: they are compared letter by letter."""
    for origin in _comma_separated(text):
        parts = _split(origin)
        if parts is None or origin != f"{parts[0]}://{urlsplit(origin).netloc}" or parts[0] == "":
            raise ValueError(f"{origin[:200]!r} is not an origin such as https://app.example.com")
    return text


def _networks(text: str) -> str:
    """Comma-separated CIDRs or addresses."""
    for network in _comma_separated(text):
        try:
            ip_network(network)
        except ValueError:
            raise ValueError(f"{network[:200]!r} is not a network such as 10.0.0.0/8") from None
    return text


def _comma_separated(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


WebUrl = Annotated[str, AfterValidator(_web_url)]


class Settings(BaseSettings):
    """The settings of one process; `docs/configuration.md` describes each."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True)

    database_url: Annotated[SecretStr, AfterValidator(_database_url)]
    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    redis_ca_file: Path | None = None
    redis_prefix: str = Field(default="", pattern=r"^[A-Za-z0-9_.:-]{0,100}$")
    secret_key: SecretStr = SecretStr("")
    catalog: Path | None = None
    public_url: WebUrl = "http://127.0.0.1:8000"
    storage_url: str = "file://.imagequeue/media"
    s3_endpoint_url: WebUrl | None = None
    s3_presign_endpoint_url: WebUrl | None = None
    media_base_url: WebUrl | None = None
    egress_allow: str = ""
    egress_deny: str = ""
    egress_ca_file: Path | None = None
    upstream_proxy: SecretStr = SecretStr("")
    webhook_schedule: str = ""
    retention_days: int = Field(default=30, ge=1)
    metrics_addr: str | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "console"] = "json"
    failpoint: str = ""
    database_pool_size: int = Field(default=8, ge=1, le=200)
    database_pooler: Literal["transaction"] | None = None
    max_body_bytes: int = Field(default=32 * 1024 * 1024, ge=1024)
    spill_dir: Path | None = None
    liveness_seconds: float = Field(default=5.0, gt=0)
    cors_origins: Annotated[str, AfterValidator(_origins)] = ""
    wait_seconds: float = Field(default=300.0, gt=0, le=86_400)
    trusted_proxies: Annotated[str, AfterValidator(_networks)] = ""
    max_connections: int = Field(default=8192, ge=1)
    max_connections_per_address: int = Field(default=2048, ge=1)
    default_key_rpm: int | None = Field(default=None, ge=1, le=1_000_000)

    @cached_property
    def allowed_origins(self) -> list[str]:
        """Origins whose scripts may call the API; empty: none."""
        return _comma_separated(self.cors_origins)

    @cached_property
    def redis_address(self) -> RedisAddress:
        """Where Redis is. The first use raises ConfigurationError when the URL is wrong."""
        address = read_redis_url(self.redis_url.get_secret_value(), self.redis_ca_file)
        return replace(address, prefix=self.redis_prefix)

    @cached_property
    def public_path(self) -> str:
        """The path below which a proxy in front shows the API: empty, or such as `/images`."""
        return urlsplit(self.public_origin).path

    @cached_property
    def public_origin(self) -> str:
        """The URL under which clients reach the API, without a slash at the end."""
        return self.public_url.rstrip("/")


def load_settings() -> Settings:
    """Read the environment.

    Raises:
        ConfigurationError: a variable is unknown, missing or malformed; the message names it.
    """
    refuse_unknown_variables(os.environ)
    try:
        settings = Settings()  # pyright: ignore[reportCallIssue]  # required fields come from the environment
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        name = PREFIX + "_".join(str(part) for part in first["loc"]).upper()
        raise ConfigurationError(f"{name}: {first['msg'].removeprefix('Value error, ')}") from None
    _ = settings.redis_address
    require_retention_beyond_webhooks(settings)
    return settings


def require_retention_beyond_webhooks(settings: Settings) -> None:
    """Refuse to delete images while their webhook may still be delivered.

    Raises:
        ConfigurationError: the schedule is malformed, or lasts longer than jobs are kept.
    """
    lasts = age_limit(parse_schedule(settings.webhook_schedule))
    if lasts > timedelta(days=settings.retention_days):
        needed = ceil(lasts / timedelta(days=1))
        raise ConfigurationError(
            f"IMAGEQUEUE_RETENTION_DAYS: webhooks are tried for up to {needed} days"
            f" (IMAGEQUEUE_WEBHOOK_SCHEDULE), so keep jobs for at least {needed}"
        )


def refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    """Refuse an `IMAGEQUEUE_*` variable that no setting reads.

    Raises:
        ConfigurationError: names every such variable.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields} | CLIENT_VARIABLES | {IMAGE_VARIABLE}
    unknown = sorted(name for name in environment if _is_meant_for_us(name) and name not in known)
    if unknown:
        raise ConfigurationError(
            f"Unknown variable {', '.join(unknown)}; docs/configuration.md lists every setting"
        )


def _is_meant_for_us(name: str) -> bool:
    others = name.startswith(_TESTS_PREFIX) or "_SERVICE_" in name or "_PORT" in name
    return name.startswith(PREFIX) and not others
