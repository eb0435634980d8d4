"""Every fault over a real socket, seen as a client sees it."""

import base64
import binascii
import contextlib
import json
import socket
import struct
from collections.abc import Callable, Generator
from typing import Any

import httpx
import pytest

from simulator.config import SimulatorConfig
from tests.loopback import NO_TLS
from tests.servers import SimulatorThread
from tests.simulator.conftest import KEY, UPSTREAMS, Generate

Arm = Callable[..., dict[str, Any]]
Entries = Callable[..., list[dict[str, Any]]]

PATH = "/east/mai/v1/images/generations"


@contextlib.contextmanager
def raw_call(simulator: SimulatorThread, announced: int = 0) -> Generator[socket.socket]:
    """A call by hand. With `announced` only the head is sent, with this Content-Length."""
    body = json.dumps({"model": "mai", "prompt": "x"}).encode()
    head = f"POST {PATH} HTTP/1.1\r\nHost: s\r\napi-key: {KEY}\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {announced or len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", simulator.port), timeout=120) as connection:
        connection.sendall(head.encode() + (b"" if announced else body))
        yield connection


def read_on(connection: socket.socket, received: bytearray) -> None:
    while chunk := connection.recv(65536):
        received += chunk


def image(response: httpx.Response) -> bytes:
    return base64.b64decode(response.json()["data"][0]["b64_json"], validate=True)


def test_a_status_comes_in_the_envelope_with_its_headers(arm: Arm, generate: Generate) -> None:
    arm(kind="status", status=429, headers={"Retry-After": "86400"}, count=1)
    response = generate()
    assert (response.status_code, response.headers["retry-after"]) == (429, "86400")
    assert response.json()["error"] == {"code": "429", "message": "injected by the simulator"}
    assert generate().status_code == 200


def test_a_status_can_bring_its_own_code_and_body(arm: Arm, generate: Generate) -> None:
    arm(kind="status", status=402, code="insufficient_quota", message="no money", count=1)
    assert generate().json()["error"] == {"code": "insufficient_quota", "message": "no money"}
    arm(kind="status", status=503, body={"odd": [1]}, count=1)
    assert generate().json() == {"odd": [1]}
    arm(kind="status", status=502, body="<bad gateway>", count=1)
    assert generate().text == "<bad gateway>"


def test_a_fault_before_admission_takes_no_place_and_one_after_it_does(
    arm: Arm, generate: Generate, entries: Entries
) -> None:
    arm(kind="status", stage="before_admission", match={"upstream": "tight"}, count=3)
    assert [generate("tight").status_code for _ in range(3)] == [500, 500, 500]
    arm(kind="status", stage="after_admission", match={"upstream": "tight"}, count=1)
    assert [generate("tight").status_code for _ in range(3)] == [500, 200, 429]
    seen = [(entry["outcome"], entry["fault_stage"]) for entry in entries()]
    assert seen[2:] == [
        ("refused", "before_admission"),
        ("admitted", "after_admission"),
        ("admitted", None),
        ("throttled", None),
    ]


@pytest.mark.parametrize("stage", ["before_body", "before_admission", "after_admission"])
def test_a_reset_is_a_tcp_reset(
    simulator: SimulatorThread, arm: Arm, entries: Entries, stage: str, generate: Generate
) -> None:
    arm(kind="reset", stage=stage, count=1)
    with raw_call(simulator) as connection, pytest.raises(ConnectionResetError):
        connection.recv(1)
    (entry,) = entries()
    assert (entry["fault"], entry["fault_stage"], entry["status"]) == ("reset", stage, None)
    assert entry["outcome"] == ("admitted" if stage == "after_admission" else "refused")
    assert generate().status_code == 200


def test_a_reset_in_mid_response_comes_after_the_head(
    simulator: SimulatorThread, arm: Arm, entries: Entries
) -> None:
    arm(kind="reset", stage="mid_response", count=1)
    received = bytearray()
    with raw_call(simulator) as connection, pytest.raises(ConnectionResetError):
        read_on(connection, received)
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert entries()[0]["status"] == 200


@pytest.mark.parametrize("stage", ["before_admission", "after_admission", "mid_response"])
def test_a_hang_ends_only_when_the_client_leaves(
    simulator: SimulatorThread, arm: Arm, entries: Entries, stage: str
) -> None:
    arm(kind="hang", stage=stage, count=1)
    with raw_call(simulator) as connection:
        assert entries(wait=10)[0]["fault"] == "hang"
        connection.settimeout(0.3)
        received = bytearray()
        with pytest.raises(TimeoutError):
            read_on(connection, received)
    assert (b"200 OK" in received) is (stage == "mid_response")


def test_a_hang_before_the_body_leaves_the_body_unread(
    simulator: SimulatorThread, arm: Arm, entries: Entries
) -> None:
    arm(kind="hang", stage="before_body", count=1)
    with raw_call(simulator, announced=60_000_000) as connection:
        assert entries(wait=10)[0]["fault_stage"] == "before_body"
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.sendall(bytes(60_000_000))


def test_hanging_calls_do_not_hold_the_server_up() -> None:
    with SimulatorThread(SimulatorConfig(upstreams=UPSTREAMS)) as server, contextlib.ExitStack() as calls:
        httpx.post(
            f"{server.url}/_sim/faults", json={"kind": "hang"}, trust_env=False, verify=NO_TLS
        ).raise_for_status()
        for number in range(3):
            calls.enter_context(raw_call(server))
            query = {"after": number, "wait": 10}
            response = httpx.get(
                f"{server.url}/_sim/log", params=query, trust_env=False, timeout=120, verify=NO_TLS
            )
            assert response.json()["last"] == number + 1
        server.stop()  # or RuntimeError


@pytest.mark.parametrize("stage", ["before_body", "before_admission", "after_admission"])
def test_a_delay_is_followed_by_the_true_answer(arm: Arm, generate: Generate, stage: str) -> None:
    arm(kind="delay", seconds=0.3, stage=stage, count=1)
    response = generate()
    assert response.status_code == 200
    assert response.elapsed.total_seconds() >= 0.3
    assert image(response)


def test_a_drip_is_whole_but_slow(arm: Arm, generate: Generate) -> None:
    size = len(generate().content)
    arm(kind="drip", bytes_per_second=size * 2, count=1)
    response = generate()
    assert image(response)
    assert response.elapsed.total_seconds() >= 0.3


def test_truncated_json_is_framed_correctly(arm: Arm, generate: Generate) -> None:
    arm(kind="truncated_json", count=1)
    response = generate()
    assert response.status_code == 200
    assert int(response.headers["content-length"]) == len(response.content)
    with pytest.raises(json.JSONDecodeError):
        response.json()


def test_truncated_base64_cannot_be_decoded(arm: Arm, generate: Generate) -> None:
    arm(kind="truncated_base64", count=1)
    text = generate().json()["data"][0]["b64_json"]
    assert len(text) > 100
    with pytest.raises(binascii.Error):
        base64.b64decode(text)


def test_html_in_place_of_json(arm: Arm, generate: Generate) -> None:
    arm(kind="html", count=1)
    response = generate()
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "<html>" in response.text


def test_not_an_image(arm: Arm, generate: Generate) -> None:
    arm(kind="not_an_image", count=1)
    assert image(generate()).startswith(b"The image is being prepared")


def test_a_bomb_is_small_and_claims_to_be_huge(arm: Arm, generate: Generate) -> None:
    arm(kind="bomb", count=1)
    data = image(generate())
    assert len(data) < 200_000
    assert struct.unpack(">II", data[16:24]) == (30_000, 30_000)


def test_an_oversized_body_has_no_length_and_is_json_to_the_end(
    arm: Arm, client: httpx.Client, generate: Generate
) -> None:
    arm(kind="oversized", size_bytes=3_000_000, count=2)
    response = generate()
    assert "content-length" not in response.headers
    assert len(response.content) == 3_000_000
    assert len(response.json()["data"][0]["b64_json"]) > 2_999_000
    body = {"model": "mai", "prompt": "x"}
    with client.stream("POST", PATH, json=body) as stream:
        next(stream.iter_raw(1000))  # and a client may leave in the middle
    assert generate().status_code == 200


def test_fewer_images_and_no_data(arm: Arm, generate: Generate) -> None:
    arm(kind="fewer_images", count=1)
    assert generate().json()["data"] == []
    arm(kind="no_data", count=1)
    response = generate()
    assert response.status_code == 200
    assert "data" not in response.json()


def test_a_redirect_leads_where_it_was_told(arm: Arm, generate: Generate) -> None:
    arm(kind="redirect", location="http://169.254.169.254/latest", count=1)
    response = generate()
    assert (response.status_code, response.headers["location"]) == (307, "http://169.254.169.254/latest")


def test_matches_narrow_a_fault(arm: Arm, generate: Generate) -> None:
    arm(kind="status", match={"upstream": "east", "model": "mai-2e", "prompt_contains": "owl"})
    assert generate(prompt="an owl").status_code == 200
    assert generate(model="mai-2e", prompt="a fox").status_code == 200
    assert generate("tight", prompt="an owl").status_code == 200
    assert generate(model="mai-2e", prompt="an owl").status_code == 500
    arm(kind="status", match={"operation": "edit"})
    assert generate().status_code == 200


def test_chances_are_the_same_for_the_same_seed(arm: Arm, generate: Generate, client: httpx.Client) -> None:
    arm(kind="status", probability=0.5, stage="before_admission")
    statuses = [generate(width=1).status_code for _ in range(60)]
    assert 15 <= statuses.count(500) <= 45
    (shown,) = client.get("/_sim/faults").json()["faults"]
    assert (shown["fitted"], shown["applied"]) == (60, statuses.count(500))


def test_faults_can_be_disarmed(arm: Arm, generate: Generate, client: httpx.Client) -> None:
    identifier = arm(kind="status")["id"]
    assert generate().status_code == 500
    assert client.delete(f"/_sim/faults/{identifier}").status_code == 204
    assert client.delete(f"/_sim/faults/{identifier}").status_code == 404
    assert generate().status_code == 200
    arm(kind="status")
    assert client.delete("/_sim/faults").status_code == 204
    assert generate().status_code == 200


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "explode"},
        {"kind": "bomb", "stage": "before_body"},
        {"kind": "reset", "stage": "before_body", "match": {"model": "mai"}},
        {"kind": "redirect"},
        {"kind": "status", "count": 0},
        {"kind": "status", "retry": 1},
    ],
)
def test_impossible_faults_are_refused(client: httpx.Client, fault: dict[str, Any]) -> None:
    assert client.post("/_sim/faults", json=fault).status_code == 422
