"""Settings: an empty variable is one that is not set, and a malformed one is named in one line at start."""

from __future__ import annotations

import re

import pytest

from imagequeue.domain.errors import ConfigurationError
from imagequeue.settings import load_settings

DATABASE_URL = "postgresql://queue:secret-password@db/queue"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEQUEUE_DATABASE_URL", DATABASE_URL)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("IMAGEQUEUE_S3_ENDPOINT_URL", "s3_endpoint_url"),
        ("IMAGEQUEUE_MEDIA_BASE_URL", "media_base_url"),
        ("IMAGEQUEUE_PUBLIC_URL", "public_url"),
        ("IMAGEQUEUE_STORAGE_URL", "storage_url"),
        ("IMAGEQUEUE_METRICS_ADDR", "metrics_addr"),
        ("IMAGEQUEUE_SPILL_DIR", "spill_dir"),
        ("IMAGEQUEUE_RETENTION_DAYS", "retention_days"),
        ("IMAGEQUEUE_REDIS_URL", "redis_url"),
    ],
)
def test_an_empty_variable_is_one_that_is_not_set(
    monkeypatch: pytest.MonkeyPatch, name: str, field: str
) -> None:
    unset = getattr(load_settings(), field)
    monkeypatch.setenv(name, "")
    assert getattr(load_settings(), field) == unset


@pytest.mark.parametrize("name", ["S3_ENDPOINT_URL", "MEDIA_BASE_URL", "PUBLIC_URL"])
@pytest.mark.parametrize(
    "url",
    [
        "minio:9000",
        "minio",
        "http://",
        "https://:9000",
        "http://[::1",
        "http://minio:port",
        "http://minio:99999",
        "ftp://minio",
        "s3://bucket",
        "http://mini o",
        " http://minio",
        "http://minio/?x=1",
        "http://minio/#part",
    ],
)
def test_a_web_url_that_is_none_is_named_at_start(
    monkeypatch: pytest.MonkeyPatch, name: str, url: str
) -> None:
    monkeypatch.setenv(f"IMAGEQUEUE_{name}", url)
    with pytest.raises(ConfigurationError) as error:
        load_settings()
    assert str(error.value).startswith(f"IMAGEQUEUE_{name}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("DATABASE_URL", "mysql://queue:secret-password@db/queue"),
        ("DATABASE_URL", "secret-password"),
        ("DATABASE_URL", ""),
        ("REDIS_URL", "http://:secret-password@redis"),
        ("REDIS_URL", "secret-password:6379"),
    ],
)
def test_the_url_of_another_server_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, name: str, url: str
) -> None:
    monkeypatch.setenv(f"IMAGEQUEUE_{name}", url)
    with pytest.raises(ConfigurationError, match=f"^IMAGEQUEUE_{name}: ") as error:
        load_settings()
    assert "secret-password" not in str(error.value)


@pytest.mark.parametrize("driver", ["postgresql+asyncpg", "postgresql+psycopg2", "postgres+pg8000"])
def test_the_scheme_of_another_driver_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, driver: str
) -> None:
    monkeypatch.setenv("IMAGEQUEUE_DATABASE_URL", f"{driver}://queue:secret-password@db/queue")
    with pytest.raises(
        ConfigurationError, match=f"^IMAGEQUEUE_DATABASE_URL: {re.escape(driver)}://"
    ) as error:
        load_settings()
    assert "secret-password" not in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_a_database_url_is_taken_without_the_newline_of_the_secret_it_was_read_from(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    url = f"{scheme}://queue:secret-password@db/queue"
    monkeypatch.setenv("IMAGEQUEUE_DATABASE_URL", f"{url}\n")
    assert load_settings().database_url.get_secret_value() == url


@pytest.mark.parametrize("url", ["http://minio:9000", "https://s3.example.com/", "http://[::1]:9000"])
def test_a_web_url_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("IMAGEQUEUE_S3_ENDPOINT_URL", url)
    assert load_settings().s3_endpoint_url == url


@pytest.mark.parametrize(
    ("days", "schedule", "needed"),
    [("4", "", 5), ("2", "0,86400", 3), ("2", "86401", 3), ("30", "0,2592000", 37)],
)
def test_jobs_that_go_before_their_webhooks_are_given_up_are_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, days: str, schedule: str, needed: int
) -> None:
    monkeypatch.setenv("IMAGEQUEUE_RETENTION_DAYS", days)
    monkeypatch.setenv("IMAGEQUEUE_WEBHOOK_SCHEDULE", schedule)
    with pytest.raises(ConfigurationError, match=f"IMAGEQUEUE_RETENTION_DAYS.* at least {needed}"):
        load_settings()


@pytest.mark.parametrize(("days", "schedule"), [("5", ""), ("2", "0,5,70000"), ("1", "0")])
def test_a_retention_beyond_the_schedule_is_taken(
    monkeypatch: pytest.MonkeyPatch, days: str, schedule: str
) -> None:
    monkeypatch.setenv("IMAGEQUEUE_RETENTION_DAYS", days)
    monkeypatch.setenv("IMAGEQUEUE_WEBHOOK_SCHEDULE", schedule)
    assert load_settings().retention_days == int(days)


def test_a_malformed_schedule_is_refused_by_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEQUEUE_WEBHOOK_SCHEDULE", "0;5")
    with pytest.raises(ConfigurationError, match="IMAGEQUEUE_WEBHOOK_SCHEDULE"):
        load_settings()


@pytest.mark.parametrize(
    "origin",
    ["*", "null", "app.example.com", "https://app.example.com/", "https://app.example.com/path", "https://"],
)
def test_an_origin_that_no_browser_sends_is_named_at_start(
    monkeypatch: pytest.MonkeyPatch, origin: str
) -> None:
    monkeypatch.setenv("IMAGEQUEUE_CORS_ORIGINS", f"https://one.example.com,{origin}")
    with pytest.raises(ConfigurationError, match=r"IMAGEQUEUE_CORS_ORIGINS: .* is not an origin"):
        load_settings()


def test_origins_are_read_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEQUEUE_CORS_ORIGINS", " https://one.example.com, http://localhost:3000 ,")
    assert load_settings().allowed_origins == ["https://one.example.com", "http://localhost:3000"]


@pytest.mark.parametrize("text", ["10.0.0.1/8", "proxy", "10.0.0.0/8;::1", "*", "10.0.0.0/33", "::1,x"])
def test_trusted_proxies_that_are_no_networks_are_named_at_start(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("IMAGEQUEUE_TRUSTED_PROXIES", text)
    with pytest.raises(ConfigurationError, match=r"^IMAGEQUEUE_TRUSTED_PROXIES: .* is not a network"):
        load_settings()
