"""Media URLs name output images of this service, and of no other."""

from __future__ import annotations

import pytest

from imagequeue.media.keys import input_key
from imagequeue.media_urls import media_urls, own_storage_key
from imagequeue.signing import Keyring
from tests.builders import SECRET_KEY, settings

KEY = "v1/some-model_01890000-0000-7000-8000-000000000000/01890000-0000-7000-8000-000000000001/output.png"
KEYRING = Keyring(SECRET_KEY)
OWN = settings("postgresql://x", public_url="https://queue.example.com/api")
URL = media_urls(OWN, KEYRING)(KEY)
TOKEN = KEYRING.media_token(KEY)


@pytest.mark.parametrize(
    "url",
    [
        URL,
        URL.replace("https://queue.example.com", "HTTPS://Queue.Example.COM"),
        URL.replace("example.com/", "example.com:443/"),
        f"{URL}?download=1",
        f"{URL}#top",
        URL.replace("_", "%5F"),
    ],
)
def test_a_media_url_names_its_image_however_it_is_written(url: str) -> None:
    assert own_storage_key(url, OWN, KEYRING) == KEY


@pytest.mark.parametrize(
    "url",
    [
        URL.replace(TOKEN, "A" * 24),
        URL.replace("output.png", "output_2.png"),
        URL.replace("https:", "http:"),
        URL.replace("queue.example", "other.example"),
        URL.replace("example.com/", "example.com:8443/"),
        URL.replace("example.com/", "example.com:port/"),
        f"https://queue.example.com/media/{TOKEN}/{KEY}",
        f"https://queue.example.com/api/media/{TOKEN}",
        "https://[::1/media/x",
        "data:image/png;base64,AAAA",
        "",
    ],
)
def test_any_other_url_names_none(url: str) -> None:
    assert own_storage_key(url, OWN, KEYRING) is None


def test_no_media_url_names_an_input_image() -> None:
    key = input_key(b"of another account")
    assert own_storage_key(media_urls(OWN, KEYRING)(key), OWN, KEYRING) is None
    cdn = settings("postgresql://x", media_base_url="https://cdn.example.com/i/")
    for path in (key, "secret.key", "v1/../inputs/x", "v1//x", f"v1/x/../../{key}"):
        assert own_storage_key(f"https://cdn.example.com/i/{path}", cdn, KEYRING) is None


def test_behind_a_cdn_both_kinds_of_media_urls_name_the_image() -> None:
    """The base was set when the service ran already: older jobs have URLs with tokens."""
    cdn = settings("postgresql://x", media_base_url="https://cdn.example.com/i/", public_url=OWN.public_url)
    assert own_storage_key(media_urls(cdn, KEYRING)(KEY), cdn, KEYRING) == KEY
    assert own_storage_key(URL, cdn, KEYRING) == KEY
