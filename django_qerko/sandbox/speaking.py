"""Speak to a guest: choose a language, find the words, write amounts as they are written there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Final

from django.http import HttpRequest
from django.utils.translation.trans_real import parse_accept_lang_header

from django_qerko.sandbox.phrases import LANGUAGES, PHRASES

#: Cookies know no ports, so it says whose it is.
COOKIE: Final = "qerko_sandbox_language"
#: What stands between thousands, and before decimals. A space in a number does not break.
_SEPARATORS: Final[Mapping[str, tuple[str, str]]] = {"en": (",", "."), "cs": ("\N{NO-BREAK SPACE}", ",")}
_SIGNS: Final[Mapping[str, Mapping[str, str]]] = {"en": {}, "cs": {"CZK": "Kč", "EUR": "€"}}


@dataclass(frozen=True, slots=True)
class Language:
    """One of the languages of the phone. No setting of a project has a part in it."""

    code: str

    @property
    def words(self) -> Mapping[str, str]:
        """All phrases, for a template; those with a gap are for ``say``."""
        return _words(self.code)

    def say(self, phrase: str, **gaps: str) -> str:
        """A phrase, its gaps filled."""
        return self.words[phrase].format_map(gaps)

    def money(self, value: Decimal, currency: str) -> str:
        """An amount with its currency, rounded for the eye: ``1,234.50 CZK``, ``1 234,50 Kč``."""
        return f"{self.amount(value)}\N{NO-BREAK SPACE}{self.sign(currency)}"

    def sign(self, currency: str) -> str:
        """How a currency is written."""
        return _SIGNS[self.code].get(currency, currency)

    def amount(self, value: Decimal) -> str:
        """An amount with two decimals."""
        return self._written(f"{value:,.2f}")

    def number(self, value: Decimal) -> str:
        """A quantity or percentage without the zeros that say nothing."""
        return self._written(plain(value, grouped=True))

    def moment(self, at: datetime) -> str:
        """A day and a time, where they were written."""
        day = f"{at.day}. {at.month}. {at.year}" if self.code == "cs" else f"{at:%Y-%m-%d}"
        return f"{day} {at:%H:%M}".replace(". ", ".\N{NO-BREAK SPACE}")

    def _written(self, text: str) -> str:
        thousands, decimals = _SEPARATORS[self.code]
        return text.translate({ord(","): thousands, ord("."): decimals, ord("-"): "\N{MINUS SIGN}"})


def plain(value: Decimal, *, grouped: bool = False) -> str:
    """A number without the zeros that say nothing, as a form has it."""
    text = f"{value:,f}" if grouped else f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def spoken_to(request: HttpRequest) -> Language:
    """The language that a guest chose here, or that their browser prefers."""
    chosen = request.COOKIES.get(COOKIE, "")
    accepted = parse_accept_lang_header(request.META.get("HTTP_ACCEPT_LANGUAGE", ""))
    wanted = [chosen, *(name.partition("-")[0] for name, _ in accepted)]
    return Language(next((code for code in wanted if code in LANGUAGES), LANGUAGES[0]))


@lru_cache
def _words(code: str) -> Mapping[str, str]:
    return {key: words[LANGUAGES.index(code)] for key, words in PHRASES.items()}
