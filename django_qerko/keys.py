"""An API key: its check digits, its encryption, the four characters that may be shown."""

from __future__ import annotations

import hashlib
import hmac
import re
from functools import lru_cache
from typing import Final, Self

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from django_qerko.conf import conf

_SHAPE: Final = re.compile(r"[!-~]{1,128}")
_CHECKED: Final = re.compile(r"(?:[0-9a-z]{4}-){5}[0-9a-z]{4}")
_SHOWN: Final = 4


class ApiKey:
    """A restaurant's API key, which no ``repr``, ``str`` or traceback shows.

    It is the bearer token of our calls and the secret of Qerko's signatures (protocol section 1, D),
    so the text itself leaves only through ``reveal()``, and most callers want ``mac()``.

    Raises ValueError when the text is empty, longer than 128 characters, or has characters that
    cannot stand in an HTTP header.
    """

    __slots__ = ("_text",)

    def __init__(self, text: object) -> None:
        if not isinstance(text, str) or not _SHAPE.fullmatch(text):
            del text  # Django's error page shows the local variables of a traceback
            raise ValueError("An API key is 1 to 128 printable ASCII characters without spaces.")
        self._text = text

    def __repr__(self) -> str:
        return f"<ApiKey {self.shown}>"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ApiKey) and hmac.compare_digest(self._text, other._text)

    def __hash__(self) -> int:
        return hash((ApiKey, self._text))

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        raise TypeError("An API key is not pickled: it would be readable in a cache or a queue.")

    @property
    def shown(self) -> str:
        """The last four characters, which are check digits in a real key, behind dots."""
        return f"…{self._text[-_SHOWN:]}" if len(self._text) >= 4 * _SHOWN else "…"

    @property
    def is_checked(self) -> bool:
        """Whether the check digits are right (protocol section 1, D). A wrong key may still be in use."""
        head, tail = self._text[:-_SHOWN], self._text[-_SHOWN:]
        digest = hashlib.sha1(head.encode(), usedforsecurity=False).hexdigest()
        return bool(_CHECKED.fullmatch(self._text)) and digest[:_SHOWN] == tail

    def reveal(self) -> str:
        """The key itself: for a bearer header, never for a log, a local variable or a page."""
        return self._text

    def mac(self, message: bytes) -> bytes:
        """HMAC-SHA-256 of a message; the key's bytes are its text with dashes (protocol section 2, A)."""
        return hmac.digest(self._text.encode(), message, "sha256")

    def encrypt(self) -> str:
        """The key as it is stored, under the newest of ``ENCRYPTION_KEYS``."""
        return _fernet(conf.ENCRYPTION_KEYS).encrypt(self._text.encode()).decode()

    @classmethod
    def decrypt(cls, stored: str) -> Self:
        """Read a key back, under any of ``ENCRYPTION_KEYS``.

        Raises ValueError when none of them fits: the key was stored under a secret that is gone.
        """
        try:
            text = _fernet(conf.ENCRYPTION_KEYS).decrypt(stored.encode()).decode()
        except InvalidToken:
            raise ValueError("The stored API key cannot be read under any of QERKO['ENCRYPTION_KEYS'].") from None
        return cls(text)


@lru_cache(maxsize=8)
def _fernet(encryption_keys: tuple[str, ...]) -> MultiFernet:
    """Raises ValueError for what are no Fernet keys, from here: cryptography's own frames would show the key."""
    try:
        return MultiFernet([Fernet(key) for key in encryption_keys])
    except ValueError:
        del encryption_keys
    raise ValueError("QERKO['ENCRYPTION_KEYS'] holds something that is no Fernet key.")
