"""How long something takes, on a machine that may stand still meanwhile."""

from __future__ import annotations

import threading
import time
from typing import Final, Self

_TICK: Final = 0.02
#: A tick that comes this much later, in seconds, came late because nobody here ran.
_NOTICED: Final = 0.1


class Stopwatch:
    """Measures seconds, but for those in which this process did not run: other work on the machine took them."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._ticking = threading.Thread(target=self._tick, daemon=True)
        self.lost = 0.0

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        self._ticking.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._ticking.join()
        self.seconds = time.monotonic() - self._started - self.lost

    def _tick(self) -> None:
        before = self._started
        while not self._done.wait(_TICK):
            self.lost += self._late_by(before)
            before = time.monotonic()
        self.lost += self._late_by(before)

    @staticmethod
    def _late_by(before: float) -> float:
        late = time.monotonic() - before - _TICK
        return late if late > _NOTICED else 0.0
