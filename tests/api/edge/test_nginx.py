"""Debian's nginx in front of the API, with the very file of the documentation.

`NGINX_PROGRAM` names it; then it is demanded, as `.ci/run` does. (`NGINX` is a variable of nginx itself.)
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from chaos.hostile.malformed import head
from cli.stack.servers.port import free
from tests.api.edge.conversation import Conversation
from tests.api.edge.serving import on_edge
from tests.api.edge.test_forwarded import behind_proxies, tell
from tests.api.service import BODY, ROUTE, Service, serving
from tests.eventually import eventually

NGINX = os.environ.get("NGINX_PROGRAM") or shutil.which(
    "nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin"
)
OF_THE_DOCS = Path(__file__).parents[3] / "docs" / "nginx.conf"
MOST_BYTES = 1024 * 1024
SITE = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream imagequeue {{
        server 127.0.0.1:{upstream};
        keepalive 64;
    }}
    server {{
        listen 127.0.0.1:{port};
        include "{of_the_docs}";
    }}
}}
"""

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed (apt-get install nginx-light)")


@contextmanager
def nginx(upstream: int, folder: Path) -> Generator[int]:
    """The port of an nginx in front of a server on this machine."""
    port, config = free(), folder / "site.conf"
    config.write_text(
        SITE.format(folder=folder, upstream=upstream, port=port, of_the_docs=OF_THE_DOCS), "ascii"
    )
    with subprocess.Popen([str(NGINX), "-c", str(config)]) as process:
        try:
            eventually(lambda: listens(port) or process.poll() is not None)
            assert process.poll() is None, "nginx ended"
            yield port
        finally:
            process.terminate()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def behind(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[tuple[Service, str]]:
    """The API, and the URL of the nginx in front of it."""
    settings: dict[str, Any] = {"storage_url": f"file://{tmp_path}/media", "max_body_bytes": MOST_BYTES}
    with (
        serving(engine, database_url, trusted_proxies="127.0.0.1", **settings) as service,
        nginx(int(service.url.rpartition(":")[2]), tmp_path) as port,
    ):
        yield service, f"http://127.0.0.1:{port}"


def test_events_come_through_while_their_stream_is_open(behind: tuple[Service, str]) -> None:
    service, url = behind
    client = service.client()
    with httpx.Client(base_url=url, headers={"api-key": client.key}, timeout=60) as http:
        request_id = http.post(ROUTE, json=BODY).json()["request_id"]
        with http.stream("GET", f"/v2/requests/{request_id}/events") as stream:
            lines = stream.iter_lines()
            assert any("QUEUED" in line for line in lines)
            assert http.post(f"/v2/requests/{request_id}/cancel").status_code == 202
            assert any("FAILED" in line for line in lines)


def test_a_body_that_is_too_large_is_refused_in_the_words_of_the_api(behind: tuple[Service, str]) -> None:
    service, url = behind
    key = {"api-key": service.client().key}
    answer = httpx.post(url + ROUTE, content=b" " * (MOST_BYTES + 1), headers=key, timeout=60)
    assert (answer.status_code, answer.json()["error"]) == (413, "Content Too Large")


def test_the_client_cannot_choose_its_address_nor_another_protocol(tmp_path: Path) -> None:
    forged = (b"X-Forwarded-For: 192.0.2.1", b"X-Forwarded-Proto: https", b"Forwarded: for=192.0.2.1")
    upgrade = (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13")
    with (
        on_edge(behind_proxies(tell, "127.0.0.1")) as (server, _),
        nginx(server.port, tmp_path) as port,
        Conversation(port) as connection,
    ):
        answer = connection.send(head(*forged, *upgrade, line=b"GET /x HTTP/1.1")).answer()
    assert (answer.status, answer.body) == (200, b"127.0.0.1 http")


def test_no_token_of_an_image_is_in_the_log(tmp_path: Path) -> None:
    with on_edge(behind_proxies(tell, "127.0.0.1")) as (server, _), nginx(server.port, tmp_path) as port:
        for path in ("/media/secret-token/v1/a.png", "/v1/models"):
            assert httpx.get(f"http://127.0.0.1:{port}{path}").status_code == 200
    log = (tmp_path / "access.log").read_text("ascii")
    assert "secret-token" not in log
    assert "/v1/models" in log
