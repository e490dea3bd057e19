"""Remember what was said, as far back as anybody looks."""

from __future__ import annotations

import threading
from collections import deque
from typing import Final

from django_qerko.sandbox.replies import Said

#: What is older is forgotten: a body may have a megabyte.
REMEMBERED: Final = 100


class Conversation:
    """The last exchanges and replies in the order in which they were over. Safe to use from several threads."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._lock = threading.Lock()
        self._said: deque[Said] = deque(maxlen=remembered)
        self._begun = 0

    def next_number(self) -> int:
        with self._lock:
            self._begun += 1
            return self._begun

    def add(self, said: Said) -> None:
        with self._lock:
            self._said.append(said)

    def said(self) -> tuple[Said, ...]:
        with self._lock:
            return tuple(self._said)
