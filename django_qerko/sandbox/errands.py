"""Do in the background what Qerko does later, or again and again, until it is closed."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

log: Final = logging.getLogger(__name__)

#: How many errands are run at once; each may wait for a point of sale.
_RUNNERS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Pauses:
    """Seconds between one time and the next: twice as long each time, and never longer than ``longest``.

    They end where ``whole`` seconds are over, or never.
    """

    first: float
    longest: float
    whole: float | None = None

    def __iter__(self) -> Iterator[float]:
        pause, waited = self.first, 0.0
        while self.whole is None or waited + pause <= self.whole:
            yield pause
            waited += pause
            pause = min(pause * 2, self.longest)


class Errands:
    """What is still to be done, each in its time, by a few threads that end with it. For several threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._running = 0
        self._runners: list[threading.Thread] = []
        self._is_closed = False

    def begin(self, work: Callable[[], object], *, after: float = 0.0) -> None:
        """Have something done once, after so many seconds; nothing is begun any more where it is closed."""

        def carefully() -> None:
            try:
                work()
            except Exception:
                log.exception("What Qerko does in the background broke")

        self._put(carefully, after)

    def persist(self, work: Callable[[], bool], pauses: Iterable[float]) -> None:
        """Have something tried after each of these pauses, until it says that it is done, or the pauses are over."""
        rest = iter(pauses)

        def try_after_a_pause() -> None:
            if (pause := next(rest, None)) is not None:
                self._put(once, pause)

        def once() -> None:
            try:
                is_done = work()
            except Exception:
                log.exception("What Qerko tries again broke")
                is_done = False
            if not is_done:
                try_after_a_pause()

        try_after_a_pause()

    def wait(self, timeout: float) -> bool:
        """Wait until nothing is left to do; ``False`` where something is, after so many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._waiting or self._running), timeout)

    def close(self) -> None:
        """Forget what was not begun, and wait for what was."""
        with self._changed:
            self._is_closed = True
            self._waiting.clear()
            self._changed.notify_all()
            runners = tuple(self._runners)
        for runner in runners:
            if runner is not threading.current_thread():
                runner.join()

    def _put(self, work: Callable[[], None], after: float) -> None:
        with self._changed:
            if self._is_closed:
                return
            heapq.heappush(self._waiting, (time.monotonic() + after, next(self._numbers), work))
            if len(self._runners) < min(_RUNNERS, len(self._waiting) + self._running):
                self._runners.append(threading.Thread(target=self._run, name="qerko-errand", daemon=True))
                self._runners[-1].start()
            self._changed.notify_all()

    def _run(self) -> None:
        while work := self._next():
            try:
                work()
            finally:
                with self._changed:
                    self._running -= 1
                    self._changed.notify_all()

    def _next(self) -> Callable[[], None] | None:
        """What is due, as soon as something is; ``None`` once it is closed."""
        with self._changed:
            while not self._is_closed:
                left = self._waiting[0][0] - time.monotonic() if self._waiting else None
                if left is not None and left <= 0:
                    self._running += 1
                    return heapq.heappop(self._waiting)[2]
                self._changed.wait(left)
        return None
