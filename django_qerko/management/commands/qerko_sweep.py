"""Finish what a crash or a lost queue left, and ask about payments that are due, once or until interrupted."""

from __future__ import annotations

import logging
import signal
import threading
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, Self

from django.core.management.base import CommandParser
from django.db import InterfaceError, OperationalError, close_old_connections

from django_qerko.management import tables
from django_qerko.management.printing import PrintingCommand
from django_qerko.tending import reconciling, sweeping

log: Final = logging.getLogger(__name__)

#: Seconds from the beginning of one sweep to that of the next, where it takes no longer.
EVERY: Final = 2.0
#: Seconds for which a loop begins questions to Qerko before it sweeps again: a reply has fifteen in all.
ASKING: Final = 2.0
_LISTENED_EVERY: Final = 0.1

_INTERRUPTIONS: Final = (signal.SIGINT, signal.SIGTERM)


class Command(PrintingCommand):
    help = (
        "Handle, send, or mark stale what was forgotten, and ask Qerko about payments whose next question is due: "
        "once, or every two seconds until interrupted."
    )
    # What was promised is owed, whatever a check has to say.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--loop", action="store_true", help="sweep every two seconds, until interrupted")

    def handle(self, *, loop: bool, **_: Any) -> None:
        with _Interruption() as interruption:
            if loop:
                self._loop(interruption)
            else:
                # Asked for by a person, or after a crash: nothing is left to a queue.
                self._say(_sweep(interruption, grace=timedelta(0), asking=reconciling.ROUND))

    def _loop(self, interruption: _Interruption) -> None:
        while not interruption.came:
            until = time.monotonic() + EVERY
            # As before a request: what is too old, or was hung up, is opened anew.
            close_old_connections()
            try:
                swept = _sweep(interruption)
            except (InterfaceError, OperationalError) as error:
                if tables.missing():
                    raise
                log.error("The database cannot be reached, and is tried again: %s", error)
            else:
                if swept:
                    self._say(swept)
            interruption.listen(until)

    def _say(self, swept: sweeping.Swept) -> None:
        self.stdout.write(f"{swept.handled} handled, {swept.sent} sent, {swept.stale} stale, {swept.asked} asked")
        self.stdout.flush()


class _Interruption:
    """Whether Ctrl-C or SIGTERM came; the row in hand is finished then. The second one is obeyed at once.

    A flag, and no ``threading.Event``: to set that in a signal's handler can lock up whoever waits for it.
    """

    came = False

    def __enter__(self) -> Self:
        # Only the main thread may listen.
        heard = _INTERRUPTIONS if threading.current_thread() is threading.main_thread() else ()
        self._before = {number: signal.signal(number, self._come) for number in heard}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def listen(self, until: float) -> None:
        """Rest until it comes, or the monotonic clock shows that time."""
        while not self.came and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _LISTENED_EVERY))

    def _come(self, *_: object) -> None:
        self.came = True
        self.__exit__()


def _sweep(interruption: _Interruption, *, grace: timedelta = sweeping.GRACE, asking: float = ASKING) -> sweeping.Swept:
    def goes_on(_: object) -> bool:
        return not interruption.came

    swept = sweeping.sweep(goes_on=goes_on, grace=grace)
    return replace(swept, asked=reconciling.ask_due(goes_on=goes_on, seconds=asking))
