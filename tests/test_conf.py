"""The setting is read when it is used, with a default for each name, and never falls over what stands there."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from django_qerko.conf import DEFAULTS, SANDBOX_URL, Conf, conf, derived_encryption_key

WORKED_OUT = ("BASE_URL", "ENCRYPTION_KEYS")


@pytest.mark.parametrize("name", [name for name in DEFAULTS if name not in WORKED_OUT])
def test_a_name_that_is_not_set_has_its_default(settings: Settings, name: str) -> None:
    settings.QERKO = {}

    assert getattr(conf, name) == DEFAULTS[name]


@pytest.mark.parametrize("name", [name for name in DEFAULTS if name not in WORKED_OUT])
def test_a_name_that_is_set_has_its_value(settings: Settings, name: str) -> None:
    settings.QERKO = {name: "https://pos.example"}

    assert getattr(conf, name) == "https://pos.example"


def test_a_project_without_the_setting_has_every_default(settings: Settings) -> None:
    del settings.QERKO

    assert {name: getattr(conf, name) for name in DEFAULTS if name not in WORKED_OUT} == {
        name: default for name, default in DEFAULTS.items() if name not in WORKED_OUT
    }


def test_a_changed_setting_counts_at_once(settings: Settings) -> None:
    settings.QERKO = {"MAX_BODY_BYTES": 1}
    assert conf.MAX_BODY_BYTES == 1

    settings.QERKO = {"MAX_BODY_BYTES": 2}
    assert conf.MAX_BODY_BYTES == 2


def test_a_name_that_nobody_knows_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="QERKO has no setting 'POSID'"):
        conf.POSID  # noqa: B018


@pytest.mark.parametrize(
    ("given_url", "debug", "url"),
    [
        (None, True, SANDBOX_URL),
        (None, False, None),
        ("", True, SANDBOX_URL),
        ("", False, None),
        ("https://qerko.example/api/", True, "https://qerko.example/api"),
        ("https://qerko.example/api", False, "https://qerko.example/api"),
        (5, False, None),
    ],
)
def test_the_sandbox_is_the_base_url_in_debug_only(
    settings: Settings, given_url: Any, debug: bool, url: str | None
) -> None:
    settings.QERKO, settings.DEBUG = {"BASE_URL": given_url}, debug

    assert url == conf.BASE_URL


def test_encryption_keys_are_derived_from_every_secret_key(settings: Settings) -> None:
    settings.QERKO, settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = {}, "new", ["old", b"bytes"]

    derived = [derived_encryption_key(secret) for secret in ("new", "old", b"bytes")]
    assert list(conf.ENCRYPTION_KEYS) == derived
    assert all(Fernet(key) for key in derived)


def test_encryption_keys_that_are_named_count_alone(settings: Settings) -> None:
    newer, older = Fernet.generate_key(), Fernet.generate_key().decode()
    settings.QERKO = {"ENCRYPTION_KEYS": [newer, older]}

    assert (newer.decode(), older) == conf.ENCRYPTION_KEYS


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=3,
    )
)
def test_no_value_makes_the_reading_fall_over(value: Any) -> None:
    for setting in (value, dict.fromkeys(DEFAULTS, value)):
        with override_settings(QERKO=setting):
            for name in DEFAULTS:
                getattr(Conf(), name)
            assert all(isinstance(key, str) for key in conf.ENCRYPTION_KEYS)
