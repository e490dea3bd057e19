"""Ring for a task, by its name and with an id, after commit; say within a second whether anybody heard.

The only enqueuer, and the owner of the connection that it rings over. Names only: no model is imported here, so that a
settings file may take ``BEAT_SCHEDULE``.

A project's Celery settings are not ours, and its producer pool waits longer than Qerko does: `apply_async(retry=False)`
took 6 s for a broker that is gone and hung for one that is frozen. So each process has a messenger, a thread with one
connection of its own, and whoever rings waits for him by the clock, whatever holds him up.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from time import monotonic
from typing import Any, Final

from celery import Celery, Task, current_app
from celery.app import default_app
from django.db import transaction
from kombu import Producer
from kombu.exceptions import SerializerNotInstalled
from kombu.serialization import prepare_accept_content

from django_qerko.conf import conf

log: Final = logging.getLogger(__name__)

HANDLE_EVENT: Final = "django_qerko.handle_event"
SEND_REPLY: Final = "django_qerko.send_reply"
SWEEP: Final = "django_qerko.sweep"
RECONCILE: Final = "django_qerko.reconcile"
ASK_ABOUT_PAYMENT: Final = "django_qerko.ask_about_payment"
ASK_ABOUT_EVENT: Final = "django_qerko.ask_about_event"
_TASKS: Final = (HANDLE_EVENT, SEND_REPLY, SWEEP, RECONCILE, ASK_ABOUT_PAYMENT, ASK_ABOUT_EVENT)

_SWEPT_EVERY: Final = 2.0
_RECONCILED_EVERY: Final = 60.0
#: For ``CELERY_BEAT_SCHEDULE``. A message that no worker took within its period is worth nothing: the next is there.
BEAT_SCHEDULE: Final[dict[str, dict[str, Any]]] = {
    SWEEP: {"task": SWEEP, "schedule": _SWEPT_EVERY, "options": {"expires": _SWEPT_EVERY}},
    RECONCILE: {"task": RECONCILE, "schedule": _RECONCILED_EVERY, "options": {"expires": _RECONCILED_EVERY}},
}

#: Seconds that whoever rings waits at most, so that with everything around it a second is kept.
LIMIT: Final = 0.9
#: Seconds without a try after one that failed.
PAUSE: Final = 3.0
#: Seconds for each word of the broker. Twice this is less than the limit: a connection that died unnoticed is replaced.
_WORD: Final = 0.4
#: What makes a driver keep to that, and say no sooner that the broker has a message than it has. Others get nothing:
#: SQLAlchemy's refuses an option that it does not know.
_OPTIONS: Final[Mapping[str, dict[str, Any]]] = {
    "amqp": {"confirm_publish": True, "connect_timeout": _WORD, "read_timeout": _WORD, "write_timeout": _WORD},
    "redis": {"socket_connect_timeout": _WORD, "socket_timeout": _WORD, "retry_on_timeout": False},
}


def ring(task: str, key: int, *, delay: float = 0.0) -> bool:
    """Whether the broker has a message for this task with this id; ``False`` within a second, whatever the broker does.

    A worker works on it after ``delay`` seconds; until then it keeps none of the worker's hands busy.

    Nothing is raised for a broker that is gone, frozen or refuses, nor in a project without a Celery app: a warning is
    logged, and for the next ``PAUSE`` seconds nobody tries. A message that arrives after all does no harm, because a
    task asks the table what to do.

    Where ``task_always_eager`` is on, the task runs here and now and the answer is ``True``; what breaks it is raised
    here only with ``task_eager_propagates``, which asks for that. What is to run later is then left to the sweeper.
    """
    bound = current_app.tasks[task]
    if bound.app.conf.task_always_eager:
        if delay:
            return False
        bound.apply_async((key,), ignore_result=True)
        return True
    # One for each process: a fork has neither the thread nor the connection of its parent.
    return _bells.setdefault(os.getpid(), _Bell()).ring(_Errand(task=bound, key=key, delay=delay))


def ring_after_commit(task: str, key: int, *, using: str, delay: float = 0.0) -> None:
    """Ring once the transaction on the database ``using`` is committed, and not at all if it is rolled back.

    What nobody heard is found by sweeping. No error reaches the caller, nor anybody else who waits for the commit.
    """
    transaction.on_commit(partial(_ring_regardless, task, key, delay), using=using)


def _ring_regardless(task: str, key: int, delay: float) -> None:
    # Not Django's robust=True: reporting an error, it asks the partial for a name, and fails itself.
    try:
        ring(task, key, delay=delay)
    except Exception:
        log.exception("Nobody could ring for %s %s.", task, key)


@contextmanager
def eagerly() -> Iterator[None]:
    """Run every task here and now, so that nothing reaches the broker; in all threads, and for the project's, too."""
    # This thread's app may be another than that of the threads that serve.
    apps = (current_app, default_app)
    before = [app.conf.task_always_eager for app in apps]
    for app in apps:
        app.conf.task_always_eager = True
    try:
        yield
    finally:
        for app, was_eager in zip(apps, before, strict=True):
            app.conf.task_always_eager = was_eager


class InOurQueue(Task):  # type: ignore[type-arg]  # Celery's class takes no arguments in every version
    """A task that goes to ``CELERY_QUEUE`` whoever sends it: beat does not ask us."""

    abstract = True

    def apply_async(self, *args: Any, **options: Any) -> Any:
        if conf.CELERY_QUEUE:
            options.setdefault("queue", conf.CELERY_QUEUE)
        return super().apply_async(*args, **options)


def prepare() -> None:
    """Load the driver of the project's broker, as a process starts: Redis's takes longer than one who rings may wait.

    Only where the project has its app already. To ask Celery for one would have it make one, and other threads would
    keep that when the project's comes.
    """
    if bool(default_app):
        # What is wrong with it is said by who rings.
        with suppress(Exception):
            _ = default_app.connection_for_write().transport


class NoAppOfTheProject(Exception):
    """Tasks would go to Celery's own app: to a broker that may well be there, and to no worker of this project."""


class Trouble(Enum):
    """What of a project's Celery keeps one of our promises from being kept."""

    NO_APP = auto()
    ACKNOWLEDGED_EARLY = auto()
    UNREADABLE = auto()
    RATE_LIMITED = auto()
    NOT_SWEPT = auto()
    NOT_RECONCILED = auto()


def troubles() -> list[Trouble]:
    """The troubles of the Celery app in force; nothing is connected.

    Tasks are judged as they are bound, so it does not matter which setting made them so.
    """
    # The current app is this thread's; other threads, and so most requests, get the default one.
    if not bool(default_app) or any(map(_is_fallback, (default_app, current_app))):
        return [Trouble.NO_APP]
    return list(_troubles_of(current_app))


def _is_fallback(app: Celery) -> bool:
    """Whether Celery made this app itself, because the project has none."""
    return app.main == "default" and not getattr(app, "set_as_current", True)


def _troubles_of(app: Celery) -> Iterator[Trouble]:
    tasks = {name: app.tasks[name] for name in _TASKS if name in app.tasks}
    readable = set(map(_content_type, app.conf.accept_content))
    # What beat sends is followed by another.
    if not all(task.acks_late for name, task in tasks.items() if name not in BEAT_SCHEDULE):
        yield Trouble.ACKNOWLEDGED_EARLY
    if not all(_content_type(task.serializer) in readable for task in tasks.values()):
        yield Trouble.UNREADABLE
    if any(task.rate_limit for task in tasks.values()) and not app.conf.worker_disable_rate_limits:
        yield Trouble.RATE_LIMITED
    scheduled = list(map(_task_of, app.conf.beat_schedule.values()))
    if SWEEP not in scheduled:
        yield Trouble.NOT_SWEPT
    if RECONCILE not in scheduled:
        yield Trouble.NOT_RECONCILED


def _content_type(serializer: str) -> str:
    """A name and its type are the same to Celery; a serializer that is not installed is like nothing else."""
    try:
        return next(iter(prepare_accept_content([serializer]) or ()))
    except SerializerNotInstalled:
        return serializer


def _task_of(entry: Any) -> Any:
    """The task of an entry in a beat schedule, which is a dict or one of Celery's own."""
    return entry.get("task") if isinstance(entry, Mapping) else getattr(entry, "task", None)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Errand:
    task: Task[Any, Any]
    key: int
    delay: float = 0.0
    heard: Future[bool] = field(default_factory=Future)


class _Bell:
    """What a process rings: it sends the messenger, and knows whether it is worth while."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._messenger: _Messenger | None = None
        #: Nobody is sent before; ``None`` while all is well.
        self._again_at: float | None = None

    def ring(self, errand: _Errand) -> bool:
        messenger = self._send(errand)
        if messenger is None:
            return False
        try:
            return errand.heard.result(LIMIT)
        except CancelledError:
            return False
        except TimeoutError:
            errand.heard.cancel()
            if messenger.is_stuck():
                self.fail(messenger, "no word from it")
            else:
                log.warning("Others rang before: %s %s was not heard in time.", errand.task.name, errand.key)
            return False

    def _send(self, errand: _Errand) -> _Messenger | None:
        with self._lock:
            if self._again_at is not None:
                if monotonic() < self._again_at:
                    return None
                # This one finds out for all the others.
                self._again_at = monotonic() + PAUSE
            try:
                messenger = self._messenger = self._messenger or _Messenger(self)
            except RuntimeError as error:
                log.warning("There is no thread to ring from: %s", error)
                return None
            messenger.take(errand)
            return messenger

    def succeed(self, messenger: _Messenger) -> None:
        with self._lock:
            if self._messenger is messenger:
                self._again_at = None

    def fail(self, messenger: _Messenger, why: str) -> None:
        """Let nobody try for a while. What the messenger still carries is not heard; he is never sent again."""
        with self._lock:
            if self._messenger is not messenger:
                return
            self._messenger = None
            self._again_at = monotonic() + PAUSE
        messenger.dismiss()
        log.warning("The broker does not hear us: %s. Nobody rings for %s s; the sweeper finds the rest.", why, PAUSE)


class _Messenger:
    """A thread that brings errands to the broker, one after another.

    One that is stuck is dismissed: he ends as soon as what holds him lets go, and he is a daemon.
    """

    def __init__(self, bell: _Bell) -> None:
        self._bell = bell
        self._errands: SimpleQueue[_Errand | None] = SimpleQueue()
        self._line: _Line | None = None
        self._left_at: float | None = None
        Thread(target=self._work, name="django_qerko.queueing", daemon=True).start()

    def take(self, errand: _Errand) -> None:
        self._errands.put(errand)

    def is_stuck(self) -> bool:
        """Whether it is the errand in hand that takes too long, and not the many before."""
        left_at = self._left_at
        return left_at is not None and monotonic() - left_at > LIMIT / 2

    def dismiss(self) -> None:
        with suppress(Empty):
            while errand := self._errands.get_nowait():
                errand.heard.cancel()
        self._errands.put(None)

    def _work(self) -> None:
        while errand := self._errands.get():
            if errand.heard.set_running_or_notify_cancel():
                self._left_at = monotonic()
                heard = self._bring(errand, self._left_at)
                self._left_at = None
                errand.heard.set_result(heard)
        self._hang_up()

    def _bring(self, errand: _Errand, left_at: float) -> bool:
        try:
            self._speak(errand, left_at)
        except Exception as error:  # whatever a driver, a serializer or a router of the project's raises
            self._bell.fail(self, _named(error))
            return False
        self._bell.succeed(self)
        return True

    def _speak(self, errand: _Errand, left_at: float) -> None:
        """Over the line that is there; if it went dead while nobody spoke, over a new one."""
        if self._line is not None and self._line.app is errand.task.app:
            try:
                return self._line.speak(errand)
            except Exception:
                if monotonic() - left_at > LIMIT - _WORD:
                    raise
        self._hang_up()
        self._line = _Line(errand.task.app)
        return self._line.speak(errand)

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.hang_up()
            self._line = None


class _Line:
    """A connection to an app's broker that is nobody else's. Its brokers are tried in turn, each once."""

    def __init__(self, app: Celery) -> None:
        if _is_fallback(app):
            raise NoAppOfTheProject
        self.app = app
        self._driver = app.connection_for_write().transport.driver_type
        self._connection = app.connection_for_write(
            connect_timeout=_WORD, transport_options=_OPTIONS.get(self._driver, {})
        )
        self._producer = Producer(self._connection, auto_declare=False)

    def speak(self, errand: _Errand) -> None:
        # Connected here, because a producer that connects by itself sleeps two seconds after a failure.
        tries = max(len(self._connection.alt), 1)
        self._connection.ensure_connection(max_retries=tries - 1, interval_start=0, interval_step=0, interval_max=0)
        options: dict[str, Any] = {"queue": conf.CELERY_QUEUE} if conf.CELERY_QUEUE else {}
        if errand.delay:
            options["countdown"] = errand.delay
        errand.task.apply_async((errand.key,), producer=self._producer, retry=False, ignore_result=True, **options)

    def hang_up(self) -> None:
        # AMQP has a polite way to part, which waits for the broker's word.
        part = self._connection.collect if self._driver == "amqp" else self._connection.release
        with suppress(Exception):
            part()


def _named(error: BaseException) -> str:
    """The kinds of an error and of what caused it. Never its text: a broker's URL carries a password."""
    cause = error.__cause__
    return type(error).__name__ + (f" ({_named(cause)})" if cause else "")


_bells: Final[dict[int, _Bell]] = {}
