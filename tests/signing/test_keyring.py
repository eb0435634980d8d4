"""Encryption of stored secrets, media tokens, tokens of upstream callbacks."""

from __future__ import annotations

import re
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagequeue.domain.errors import ConfigurationError
from imagequeue.signing import Keyring, new_secret_key

OLD, NEW = "o" * 43, "n" * 43


@given(st.text())
def test_what_is_encrypted_comes_back_and_is_never_the_same_twice(secret: str) -> None:
    ring = Keyring(OLD)
    stored = ring.encrypt(secret)
    assert ring.decrypt(stored) == secret
    assert stored != ring.encrypt(secret)


def test_another_key_does_not_open_it_and_the_error_does_not_show_it() -> None:
    stored = Keyring(OLD).encrypt("whsec_x")
    for wrong in (stored[:-4] + "AAAA", "", "garbage", "\u00fc"):
        with pytest.raises(ConfigurationError):
            Keyring(OLD).decrypt(wrong)
    with pytest.raises(ConfigurationError, match="IMAGEQUEUE_SECRET_KEY") as failure:
        Keyring(NEW).decrypt(stored)
    assert NEW not in failure.value.message


def test_a_key_is_rotated_by_putting_the_new_one_in_front() -> None:
    stored = Keyring(OLD).encrypt("whsec_x")
    token = Keyring(OLD).media_token("v1/a/b/output.png")
    both = Keyring(f"{NEW}, {OLD}")
    assert both.decrypt(stored) == "whsec_x"
    assert both.is_media_token("v1/a/b/output.png", token)
    assert Keyring(NEW).decrypt(both.encrypt(both.decrypt(stored))) == "whsec_x"
    assert both.media_token("x") == Keyring(NEW).media_token("x") != Keyring(OLD).media_token("x")


@pytest.mark.parametrize("secret_key", ["", " , ", "short", f"{OLD},short"])
def test_a_missing_or_short_key_is_refused(secret_key: str) -> None:
    with pytest.raises(ConfigurationError, match="IMAGEQUEUE_SECRET_KEY"):
        Keyring(secret_key)


def test_a_new_secret_key_is_taken() -> None:
    assert new_secret_key() != new_secret_key()
    assert Keyring(new_secret_key()).encrypt("x")


@given(st.text(), st.text())
def test_a_media_token_is_of_one_key_only(one: str, other: str) -> None:
    ring = Keyring(OLD)
    token = ring.media_token(one)
    assert re.fullmatch(r"[A-Za-z0-9_-]{24}", token)
    assert token == ring.media_token(one)
    assert ring.is_media_token(one, token)
    assert ring.is_media_token(other, token) == (one == other)
    assert not ring.is_media_token(one, other)


@pytest.mark.parametrize("token", ["", "\u00fc" * 24, "\udcff", "A" * 24, "A" * 10_000])
def test_a_strange_token_is_no_token(token: str) -> None:
    assert not Keyring(OLD).is_media_token("v1/a", token)


ATTEMPT = UUID("01890000-0000-7000-8000-000000000001")


def test_a_callback_token_names_the_attempt_that_it_was_made_for() -> None:
    token = Keyring(OLD).callback_token(ATTEMPT)
    assert re.fullmatch(rf"{ATTEMPT}\.[A-Za-z0-9_-]{{24}}", token)
    assert Keyring(OLD).attempt_of_callback(token) == ATTEMPT
    assert Keyring(f"{NEW},{OLD}").attempt_of_callback(token) == ATTEMPT
    assert Keyring(NEW).attempt_of_callback(token) is None


def test_a_media_token_is_no_callback_token() -> None:
    ring = Keyring(OLD)
    assert ring.attempt_of_callback(f"{ATTEMPT}.{ring.media_token(str(ATTEMPT))}") is None


@given(st.text())
def test_any_other_text_names_no_attempt(text: str) -> None:
    ring = Keyring(OLD)
    token = ring.callback_token(ATTEMPT)
    other = UUID(int=ATTEMPT.int ^ 1)
    for strange in (
        text,
        f"{ATTEMPT}.{text}",
        f"{text}.{text}",
        text + token,
        token.replace(str(ATTEMPT), str(other)),
    ):
        assert ring.attempt_of_callback(strange) in ({ATTEMPT} if strange == token else {None})
