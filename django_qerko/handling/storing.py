"""Make text that somebody else wrote fit for a database."""

from __future__ import annotations

from typing import Final

_CHARACTERS: Final = 4000


def storable(text: str) -> str:
    """The end of a text, without what no database keeps: NUL, and half a surrogate pair."""
    return text[-_CHARACTERS:].replace("\0", "\\0").encode("utf-8", "replace").decode()
