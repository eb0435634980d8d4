"""The URL of Redis as people have it: what both libraries are told, what is refused without a password."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagequeue.domain.errors import ConfigurationError
from imagequeue.redis_server.address import RedisAddress, read_redis_url
from worker.app import make_app

VERIFIED = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
LOGIN: dict[str, Any] = {"username": "u", "password": "p"}


def tls(**more: Any) -> RedisAddress:
    return RedisAddress("h", tls=VERIFIED | more)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://h", RedisAddress("h")),
        ("redis://h/", RedisAddress("h")),
        ("redis://", RedisAddress()),
        ("valkey://h:7000/3", RedisAddress("h", 7000, db=3)),
        ("redis://u:p@h:7000/3\n", RedisAddress("h", 7000, db=3, **LOGIN)),
        ("redis://:p%40%2F%3A%3F%23%25@h", RedisAddress("h", password="p@/:?#%")),
        ("redis://h?db=2", RedisAddress("h", db=2)),
        ("redis://h/2?db=2", RedisAddress("h", db=2)),
        ("redis://h?username=u&password=p", RedisAddress("h", **LOGIN)),
        ("redis://u:p@[::1]:7000/1", RedisAddress("::1", 7000, db=1, **LOGIN)),
        ("rediss://h", tls()),
        ("valkeys://h", tls()),
        ("rediss://h?ssl_cert_reqs=CERT_REQUIRED", tls()),
        ("rediss://h?ssl_cert_reqs=optional", tls()),
        ("rediss://h?ssl_cert_reqs=none", tls(ssl_cert_reqs="none", ssl_check_hostname=False)),
        ("rediss://h?ssl_cert_reqs=CERT_NONE", tls(ssl_cert_reqs="none", ssl_check_hostname=False)),
        ("rediss://h?ssl_check_hostname=False", tls(ssl_check_hostname=False)),
        ("rediss://h?ssl_ca_certs=/etc/ca.pem", tls(ssl_ca_certs="/etc/ca.pem")),
        (
            "rediss://h?ssl_certfile=/c.pem&ssl_keyfile=%2Fk.pem&ssl_password=%26",
            tls(ssl_certfile="/c.pem", ssl_keyfile="/k.pem", ssl_password="&"),
        ),
    ],
)
def test_a_url_says_to_both_libraries_what_its_writer_meant(url: str, address: RedisAddress) -> None:
    assert read_redis_url(url) == address
    told = make_app(read_redis_url(url)).connection_for_write()
    assert (told.userid, told.password, told.ssl or None) == (address.username, address.password, address.tls)
    assert (told.hostname, told.port, told.virtual_host) == (address.host, address.port, str(address.db))


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("unix:///run/redis.sock", RedisAddress("", socket="/run/redis.sock")),
        ("unix://u:p@/run/redis.sock?db=1", RedisAddress("", socket="/run/redis.sock", db=1, **LOGIN)),
        ("redis+socket:///run/redis.sock", RedisAddress("", socket="/run/redis.sock")),
    ],
)
def test_a_socket_is_read_with_its_database_and_its_login(url: str, address: RedisAddress) -> None:
    assert read_redis_url(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "redis://:secret/more@h",
        "redis://:secret?more@h",
        "redis://:secret#more@h",
        "redis://:secret@h:port",
        "redis://:secret@h:99999",
        "redis://:sec ret@h",
        "redis://:secret@[::1",
    ],
)
def test_a_url_that_cannot_be_read_is_refused_in_a_line_without_the_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^IMAGEQUEUE_REDIS_URL: .*%40") as error:
        read_redis_url(url)
    assert "sec" not in error.value.message.replace("IMAGEQUEUE_REDIS_URL", "")
    assert "\n" not in error.value.message


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("redis://:secret@h?socket_timeout=5", "socket_timeout"),
        ("rediss://:secret@h?ssl_ca_data=x", "ssl_ca_data"),
        ("redis://:secret@h?virtual_host=3", "virtual_host"),
        ("redis://:secret@h?db=1&db=2", "twice"),
        ("redis://:secret@h/1?db=2", "database"),
        ("redis://:secret@h/queue", "database"),
        ("rediss://:secret@h?ssl_cert_reqs=maybe", "ssl_cert_reqs"),
        ("rediss://:secret@h?ssl_check_hostname=maybe", "ssl_check_hostname"),
        ("redis://:secret@h?ssl_ca_certs=/etc/ca.pem", "ssl_ca_certs needs rediss://"),
        ("redis://:secret@h?ssl_cert_reqs=required", "ssl_cert_reqs needs rediss://"),
        ("redis://:secret@a:6379,b:6379/0", "several hosts"),
        ("redis://:secret@a,b", "several hosts"),
        ("redis://:secret@a;redis://b", "several hosts"),
        ("sentinel://:secret@h:26379", "sentinel://"),
        ("redis+sentinel://:secret@h/mymaster/0", r"redis\+sentinel://"),
        ("rediss+sentinel://:secret@h", r"rediss\+sentinel://"),
        ("redis+cluster://:secret@h", r"redis\+cluster://"),
        ("unix://", "path of a socket"),
        ("unix://run/redis.sock", "path of a socket"),
        ("unix:///run/redis.sock?ssl_ca_certs=/etc/ca.pem", "path of a socket"),
        ("http://:secret@h", "not a URL such as redis://"),
        ("secret:6379", "not a URL such as redis://"),
    ],
)
def test_what_is_not_supported_is_refused_by_its_name(url: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^IMAGEQUEUE_REDIS_URL: .*{named}") as error:
        read_redis_url(url)
    assert "secret" not in error.value.message
    assert "\n" not in error.value.message


def test_the_certificates_of_the_variable_are_taken_unless_the_url_names_some(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    assert read_redis_url("rediss://h", file) == tls(ssl_ca_certs=str(file))
    assert read_redis_url("rediss://h?ssl_ca_certs=/own.pem", file) == tls(ssl_ca_certs="/own.pem")


@pytest.mark.parametrize("url", ["redis://h", "unix:///run/redis.sock"])
def test_certificates_without_tls_are_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^IMAGEQUEUE_REDIS_"):
        read_redis_url(url, tmp_path / "ca.pem")
