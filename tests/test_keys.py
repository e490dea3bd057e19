"""API keys: their check digits, their encryption, and the four characters that may be shown."""

from __future__ import annotations

import copy
import hashlib
import hmac
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from django_qerko.keys import ApiKey

VALID = "eeeu-g786-zp54-3v1c-db02-e4e1"

key_texts = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=128)


@pytest.mark.parametrize("text", [VALID, "wzgd-lbq6-gp6y-xwef-7qrz-4757"])
def test_the_check_digits_of_qerkos_own_keys_are_right(text: str) -> None:
    assert ApiKey(text).is_checked


@pytest.mark.parametrize(
    "text",
    [
        "eeeu-g786-zp54-3v1c-db02-e4e2",
        "eeeu-g786-zp54-3v1c-db03-e4e1",
        "EEEU-G786-ZP54-3V1C-DB02-E4E1",
        "eeeug786zp543v1cdb02e4e1",
        "xxxx-xxxx-xxxx-xxxx-xxxx-xxxx",
        "e4e1",
        "a",
    ],
)
def test_a_key_that_fails_the_check_is_still_a_key(text: str) -> None:
    assert not ApiKey(text).is_checked
    assert ApiKey(text).reveal() == text


@given(st.from_regex(r"(?:[0-9a-z]{4}-){5}", fullmatch=True))
def test_any_key_made_by_the_rule_is_right(head: str) -> None:
    digits = hashlib.sha1(head.encode()).hexdigest()[:4]

    assert ApiKey(head + digits).is_checked


@pytest.mark.parametrize("text", ["", "a b", "a\n", "klíč", "\x7f", "x" * 129, None, 5, b"bytes"])
def test_what_cannot_stand_in_a_header_is_no_key(text: Any) -> None:
    with pytest.raises(ValueError, match="1 to 128 printable ASCII"):
        ApiKey(text)


@pytest.mark.parametrize(
    ("text", "shown"), [(VALID, "…e4e1"), ("sixteen-letters!", "…ers!"), ("fifteen-letters", "…"), ("a", "…")]
)
def test_four_characters_are_shown_of_a_key_that_is_long_enough(text: str, shown: str) -> None:
    assert ApiKey(text).shown == shown
    assert str(ApiKey(text)) == repr(ApiKey(text)) == f"{ApiKey(text):}" == f"<ApiKey {shown}>"


def test_equal_keys_are_equal_and_others_are_not() -> None:
    assert ApiKey(VALID) == ApiKey(VALID)
    assert len({ApiKey(VALID), ApiKey(VALID)}) == 1
    assert ApiKey(VALID) != ApiKey("another")
    assert ApiKey(VALID) != VALID


@pytest.mark.parametrize("carry", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_key_does_not_travel(carry: Callable[[ApiKey], object]) -> None:
    with pytest.raises(TypeError, match="not pickled"):
        carry(ApiKey(VALID))


def test_a_mac_is_made_of_the_key_with_its_dashes() -> None:
    assert ApiKey(VALID).mac(b"body") == hmac.digest(VALID.encode(), b"body", "sha256")


@given(key_texts)
def test_a_key_survives_encryption_and_is_not_seen_in_it(text: str) -> None:
    stored = ApiKey(text).encrypt()

    assert ApiKey.decrypt(stored) == ApiKey(text)
    assert len(text) < 8 or text not in stored


def test_the_same_key_is_never_stored_the_same() -> None:
    assert ApiKey(VALID).encrypt() != ApiKey(VALID).encrypt()


def test_a_key_is_read_under_an_older_encryption_key_and_written_under_the_newest(settings: Settings) -> None:
    older, newer = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    settings.QERKO = {"ENCRYPTION_KEYS": [older]}
    stored = ApiKey(VALID).encrypt()

    settings.QERKO = {"ENCRYPTION_KEYS": [newer, older]}

    assert ApiKey.decrypt(stored) == ApiKey(VALID)
    assert Fernet(newer).decrypt(ApiKey(VALID).encrypt()) == VALID.encode()


def test_a_changed_secret_key_still_reads_through_its_fallbacks(settings: Settings) -> None:
    stored = ApiKey(VALID).encrypt()

    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "a new one"

    assert ApiKey.decrypt(stored) == ApiKey(VALID)


@pytest.mark.parametrize("stored", ["", "nonsense", "gAAAAA==", "ž"])
def test_what_was_stored_under_another_secret_is_unreadable(stored: str) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        ApiKey.decrypt(stored)


@pytest.mark.parametrize("named", [["too short"], "A" * 43 + "=", 5, [b"\xff" * 44], [None], {"a": 1}], ids=repr)
def test_encryption_keys_that_are_none_fail_and_never_become_the_derived_one(settings: Settings, named: object) -> None:
    settings.QERKO = {"ENCRYPTION_KEYS": named}

    with pytest.raises(ValueError, match="no Fernet key"):
        ApiKey(VALID).encrypt()
