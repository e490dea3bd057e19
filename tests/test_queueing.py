"""A ring is heard or not, and whoever rang knows it within a second, whatever the broker does."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from celery import Celery, _state, current_app
from celery.app import default_app
from celery.schedules import schedule
from django.db import transaction
from pytest_django import Settings

from django_qerko import queueing
from django_qerko.queueing import (
    ASK_ABOUT_PAYMENT,
    HANDLE_EVENT,
    LIMIT,
    RECONCILE,
    SEND_REPLY,
    SWEEP,
    Trouble,
    ring,
    ring_after_commit,
)
from tests import brokers
from tests.brokers import Broker, BusyChannel, Proxy, until
from tests.clocks import Stopwatch
from tests.servers import ROOT, free_port

#: A second in all, and what a busy machine adds to the limit.
IN_TIME = LIMIT + 0.4

Use: TypeAlias = Callable[..., Celery]


@pytest.fixture(autouse=True)
def messengers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[threading.Thread]]]:
    """The threads that ring. Each test starts without, and each thread ends by itself once it is dismissed."""

    def running() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "django_qerko.queueing"]

    def dismiss(bells: dict[int, queueing._Bell]) -> None:
        for bell in bells.values():
            if bell._messenger is not None:
                bell._messenger.dismiss()
        for thread in running():
            thread.join(10)
        assert not running()

    monkeypatch.setattr(queueing, "LIMIT", LIMIT)
    # Those that other tests rang with, first.
    dismiss(queueing._bells)
    queueing._bells.clear()
    bells: dict[int, queueing._Bell] = {}
    monkeypatch.setattr(queueing, "_bells", bells)
    yield running
    BusyChannel.let_go.set()
    dismiss(bells)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Use:
    """Makes the project's Celery app: one that speaks to this broker."""

    def make(broker: Broker, run: Callable[[int], object] | None = None, **settings: Any) -> Celery:
        app = broker.app(**settings)
        if run is not None:
            monkeypatch.setattr(app.tasks[HANDLE_EVENT], "run", run)
        monkeypatch.setattr(_state, "default_app", app)
        monkeypatch.setattr(_state._tls, "current_app", app)  # type: ignore[attr-defined]
        queueing.prepare()
        return app

    return make


REDIS = pytest.param("redis", marks=brokers.needs("redis"))
RABBITMQ = pytest.param("rabbitmq", marks=brokers.needs("rabbitmq"))


@pytest.fixture(params=["memory", "sqlite", REDIS, RABBITMQ])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    """Every broker that is tried in CI; servers only where they answer."""
    match request.param:
        case "memory":
            broker = brokers.in_this_process()
        case "sqlite":
            broker = brokers.in_a_file(tmp_path)
        case name:
            broker = Broker(url=brokers.SERVERS[name])
    yield broker
    broker.clear()


@pytest.fixture(params=[REDIS, RABBITMQ])
def server(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """A broker that is reached over TCP."""
    server = Broker(url=brokers.SERVERS[request.param])
    yield server
    server.clear()


@pytest.fixture
def busy() -> Iterator[Broker]:
    """A driver without time-outs that hangs until it is let go."""
    BusyChannel.let_go.clear()
    BusyChannel.tried.clear()
    BusyChannel.takes = 0
    BusyChannel.breaks = False
    yield brokers.busy()
    BusyChannel.let_go.set()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long after a failure."""
    monkeypatch.setattr(queueing, "PAUSE", 0.2)


def timed(key: int = 7) -> tuple[bool, float]:
    """What a ring says, and after how many seconds."""
    with Stopwatch() as watch:
        heard = ring(HANDLE_EVENT, key)
    return heard, watch.seconds


def at_once(callers: int) -> list[tuple[bool, float]]:
    with ThreadPoolExecutor(callers) as pool:
        return list(pool.map(timed, range(callers)))


# -- Heard -----------------------------------------------------------------------------------------


def test_a_ring_is_heard_with_its_id(use: Use, broker: Broker) -> None:
    use(broker)

    assert ring(HANDLE_EVENT, 7)
    assert ring(SEND_REPLY, 8)

    assert broker.heard() == [7, 8]


def test_a_message_names_its_task_and_keeps_no_result(use: Use, broker: Broker) -> None:
    use(broker)
    ring(SEND_REPLY, 8)

    (message,) = broker.messages()

    assert message.headers["task"] == SEND_REPLY
    assert message.headers["ignore_result"]
    assert message.headers["expires"] is None


def test_a_worker_gets_it_after_a_delay(use: Use, broker: Broker) -> None:
    use(broker)
    before = datetime.now(UTC)
    ring(SEND_REPLY, 8, delay=300)
    after = datetime.now(UTC)

    (message,) = broker.messages()

    assert before <= datetime.fromisoformat(message.headers["eta"]) - timedelta(minutes=5) <= after


def test_many_at_once_are_all_heard(use: Use, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queueing, "LIMIT", 20.0)
    use(broker)

    rings = at_once(30)

    assert all(heard for heard, _ in rings)
    assert broker.heard() == list(range(30))


def test_a_process_has_one_connection_however_many_ring(use: Use, server: Broker) -> None:
    with Proxy(server.url) as proxy:
        use(server.through(proxy))

        ring(HANDLE_EVENT, 0)
        accepted = proxy.accepted  # kombu tries Redis out over another

        at_once(20)

        assert proxy.accepted == accepted


def test_the_queue_is_the_projects_own(use: Use, broker: Broker, settings: Settings) -> None:
    use(broker)
    settings.QERKO = {"CELERY_QUEUE": broker.own.queue}

    ring(HANDLE_EVENT, 7)

    assert broker.own.heard() == [7]


def test_a_projects_routes_count(use: Use) -> None:
    broker = brokers.in_this_process()
    use(broker, task_routes={"django_qerko.*": {"queue": broker.own.queue}})

    ring(HANDLE_EVENT, 7)

    assert broker.own.heard() == [7]


@pytest.mark.parametrize(
    "settings",
    [
        {"task_annotations": {"*": {"serializer": "pickle"}}},
        {"task_publish_retry_policy": {"max_retries": None, "interval_start": 9}},
        {"broker_connection_timeout": 60, "broker_pool_limit": 0},
        {"result_backend": "cache+memory://", "task_ignore_result": False},
        {"task_send_sent_event": True},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_a_projects_settings_do_no_harm(use: Use, settings: dict[str, Any]) -> None:
    broker = brokers.in_this_process()
    use(broker, **settings)

    assert ring(HANDLE_EVENT, 7)


def test_each_app_has_its_own_broker(use: Use, tmp_path: Path) -> None:
    one, other = brokers.in_this_process(), brokers.in_a_file(tmp_path)

    for key, broker in enumerate((one, other, one)):
        use(broker)
        assert ring(HANDLE_EVENT, key)

    assert one.heard() == [0, 2]
    assert other.heard() == [1]


def test_the_second_broker_is_asked_where_the_first_is_gone(use: Use, server: Broker) -> None:
    scheme = server.url.partition(":")[0]
    use(Broker(url=f"{scheme}://127.0.0.1:{free_port()}/;{server.url}", queue=server.queue))

    assert ring(HANDLE_EVENT, 7)

    assert server.heard() == [7]


def test_a_connection_that_died_unnoticed_is_replaced(use: Use, server: Broker) -> None:
    with Proxy(server.url) as proxy:
        use(server.through(proxy))
        ring(HANDLE_EVENT, 1)
        proxy.cut()

        assert ring(HANDLE_EVENT, 2)

    assert server.heard() == [1, 2]


# -- Not heard -------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_is_gone_hears_nothing(use: Use, scheme: str, caplog: pytest.LogCaptureFixture) -> None:
    use(Broker(url=f"{scheme}://waiter:hunter2@127.0.0.1:{free_port()}/"))
    caplog.set_level(logging.DEBUG)

    heard, seconds = timed()

    assert not heard
    assert seconds < IN_TIME
    assert "hunter2" not in caplog.text
    (warning,) = [record for record in caplog.records if record.name == "django_qerko.queueing"]
    assert warning.levelname == "WARNING"
    assert "The broker does not hear us" in warning.message


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_never_says_a_word_hears_nothing(use: Use, scheme: str) -> None:
    with brokers.mute_server() as port:
        use(Broker(url=f"{scheme}://127.0.0.1:{port}/"))

        heard, seconds = timed()

        assert not heard
        assert seconds < IN_TIME


def test_a_broker_that_falls_silent_hears_nothing(use: Use, server: Broker) -> None:
    with Proxy(server.url) as proxy:
        use(server.through(proxy))
        assert ring(HANDLE_EVENT, 1)
        proxy.freeze()

        heard, seconds = timed()

        assert not heard
        assert seconds < IN_TIME


@pytest.mark.parametrize("scheme", ["redis", "amqp", "memory"])
def test_a_hundred_at_once_do_not_queue_up_before_a_frozen_broker(use: Use, scheme: str, busy: Broker) -> None:
    with brokers.mute_server() as port:
        use(busy if scheme == "memory" else Broker(url=f"{scheme}://127.0.0.1:{port}/"))

        rings = at_once(100)

        assert not any(heard for heard, _ in rings)
        assert max(seconds for _, seconds in rings) < 1.5


@pytest.mark.process
@brokers.NEEDS_REDIS_SERVER
def test_a_stopped_redis_is_noticed_and_found_again(use: Use, impatient: None, tmp_path: Path) -> None:
    with brokers.redis_server(tmp_path) as (broker, process):
        use(broker)
        assert ring(HANDLE_EVENT, 1)
        process.send_signal(signal.SIGSTOP)
        rings = at_once(100)
        process.send_signal(signal.SIGCONT)

        assert not any(heard for heard, _ in rings)
        assert max(seconds for _, seconds in rings) < 1.5
        until(lambda: ring(HANDLE_EVENT, 2))


@pytest.mark.process
@brokers.NEEDS_REDIS_SERVER
def test_a_redis_that_was_started_again_is_found_again(use: Use, impatient: None, tmp_path: Path) -> None:
    port = free_port()
    use(Broker(url=f"redis://127.0.0.1:{port}/0"))
    assert not ring(HANDLE_EVENT, 1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(brokers, "free_port", lambda: port)
        with brokers.redis_server(tmp_path) as _:
            until(lambda: ring(HANDLE_EVENT, 2))


def test_a_file_that_another_has_locked_hears_nothing(use: Use, tmp_path: Path, impatient: None) -> None:
    broker = brokers.in_a_file(tmp_path)
    use(broker)
    ring(HANDLE_EVENT, 1)

    with brokers.locked(tmp_path / "broker.sqlite3"):
        heard, seconds = timed()

    assert not heard
    assert seconds < IN_TIME
    until(lambda: ring(HANDLE_EVENT, 2))


def test_after_a_failure_nobody_tries_for_a_while(use: Use, busy: Broker) -> None:
    use(busy)
    ring(HANDLE_EVENT, 1)

    rings = at_once(20)

    assert not any(heard for heard, _ in rings)
    assert max(seconds for _, seconds in rings) < LIMIT / 2
    assert len(busy_with(busy)) == 1


def test_after_the_pause_one_finds_out_for_all(use: Use, busy: Broker, impatient: None) -> None:
    use(busy)
    ring(HANDLE_EVENT, 1)
    time.sleep(0.3)
    queueing.PAUSE = 5  # type: ignore[misc]  # the fixture puts it back

    rings = at_once(20)

    assert not any(heard for heard, _ in rings)
    assert sum(seconds > LIMIT / 2 for _, seconds in rings) == 1
    assert len(busy_with(busy)) == 2


def test_what_was_heard_too_late_does_no_harm(
    use: Use, busy: Broker, messengers: Callable[[], list[threading.Thread]], impatient: None
) -> None:
    use(busy)
    assert not ring(HANDLE_EVENT, 1)
    BusyChannel.let_go.set()

    until(lambda: not messengers())
    until(lambda: ring(HANDLE_EVENT, 2))
    assert busy.heard() == [1, 2]


def test_one_failure_is_said_once(use: Use, busy: Broker, caplog: pytest.LogCaptureFixture) -> None:
    use(busy)
    ring(HANDLE_EVENT, 1)
    BusyChannel.breaks = True
    BusyChannel.let_go.set()

    assert not ring(HANDLE_EVENT, 2)
    assert [record.name for record in caplog.records] == ["django_qerko.queueing"]


def test_a_long_line_is_no_reason_to_stop_trying(use: Use, busy: Broker, caplog: pytest.LogCaptureFixture) -> None:
    BusyChannel.takes = 0.1
    BusyChannel.let_go.set()
    use(busy)

    rings = at_once(30)

    assert any(heard for heard, _ in rings)
    assert not all(heard for heard, _ in rings)
    assert max(seconds for _, seconds in rings) < 1.5
    assert {record.message[:18] for record in caplog.records} == {"Others rang before"}
    assert ring(HANDLE_EVENT, 31)


@pytest.mark.parametrize(
    "settings",
    [
        {"task_annotations": {"*": {"serializer": "unheard-of"}}},
        {"task_create_missing_queues": False, "task_routes": {HANDLE_EVENT: {"queue": "unheard-of"}}},
        {"broker_url": "unheard-of://waiter:hunter2@broker/"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_what_cannot_be_sent_is_not_heard(use: Use, settings: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    use(brokers.in_this_process(), **settings)

    assert not ring(HANDLE_EVENT, 7)
    assert "hunter2" not in caplog.text


def test_without_a_thread_nobody_is_sent(
    use: Use, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    use(brokers.in_this_process())
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert not ring(HANDLE_EVENT, 7)

    assert "There is no thread to ring from" in caplog.text
    assert ring(HANDLE_EVENT, 7)


def busy_with(broker: Broker) -> list[str]:
    """The tries at a driver that hangs."""
    return [queue for queue in BusyChannel.tried if queue == broker.queue]


# -- Forks -----------------------------------------------------------------------------------------

FORKS = """
import os

import django
from celery import Celery
from django_qerko.queueing import HANDLE_EVENT, prepare, ring

django.setup()
app = Celery("pub", broker={url!r})
app.conf.update(task_default_queue={queue!r}, **{options!r})
app.set_default()
prepare()
assert ring(HANDLE_EVENT, 1)
child = os.fork()
if not child:
    os._exit(0 if ring(HANDLE_EVENT, 2) else 1)
assert os.waitpid(child, 0)[1] == 0
assert ring(HANDLE_EVENT, 3)
"""


@pytest.mark.process
@pytest.mark.parametrize("broker", ["sqlite", REDIS, RABBITMQ], indirect=True)
def test_a_fork_rings_over_a_connection_of_its_own(broker: Broker) -> None:
    script = FORKS.format(url=broker.url, queue=broker.queue, options=broker.options)
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"}

    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment,
        timeout=60,
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert broker.heard() == [1, 2, 3]


# -- Eager -----------------------------------------------------------------------------------------


def test_an_eager_task_runs_here_and_now(use: Use) -> None:
    ran: list[tuple[int, threading.Thread]] = []
    use(brokers.in_this_process(), lambda key: ran.append((key, threading.current_thread())), task_always_eager=True)

    assert ring(HANDLE_EVENT, 7)
    assert ran == [(7, threading.current_thread())]


def test_an_eager_task_never_waits(use: Use) -> None:
    ran: list[int] = []
    use(brokers.in_this_process(), ran.append, task_always_eager=True)

    assert not ring(HANDLE_EVENT, 7, delay=0.5)
    assert ran == []


def test_an_eager_task_that_breaks_was_heard_nevertheless(use: Use) -> None:
    use(brokers.in_this_process(), lambda key: 1 / 0, task_always_eager=True)

    assert ring(HANDLE_EVENT, 7)


def test_an_eager_task_breaks_here_where_the_project_asks_for_it(use: Use) -> None:
    use(brokers.in_this_process(), lambda key: 1 / 0, task_always_eager=True, task_eager_propagates=True)

    with pytest.raises(ZeroDivisionError):
        ring(HANDLE_EVENT, 7)


# -- After commit ----------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_nobody_rings_before_the_commit(use: Use) -> None:
    broker = brokers.in_this_process()
    use(broker)

    with transaction.atomic():
        for key in range(3):
            ring_after_commit(HANDLE_EVENT, key, using="default")
        assert broker.heard() == []

    assert broker.heard() == [0, 1, 2]


@pytest.mark.django_db(transaction=True)
def test_nobody_rings_for_what_was_rolled_back(use: Use) -> None:
    broker = brokers.in_this_process()
    use(broker)

    with transaction.atomic():
        ring_after_commit(HANDLE_EVENT, 7, using="default")
        transaction.set_rollback(True)

    assert broker.heard() == []


@pytest.mark.django_db(transaction=True)
def test_nothing_that_rings_breaks_the_caller(use: Use, caplog: pytest.LogCaptureFixture) -> None:
    use(brokers.in_this_process(), lambda key: 1 / 0, task_always_eager=True, task_eager_propagates=True)
    committed: list[str] = []

    with transaction.atomic():
        ring_after_commit(HANDLE_EVENT, 7, using="default")
        transaction.on_commit(lambda: committed.append("another's"))

    assert committed == ["another's"]
    assert "ZeroDivisionError" in caplog.text


# -- The schedule and the settings -----------------------------------------------------------------


def test_what_beat_sends_expires_after_its_period() -> None:
    periods = {
        entry["task"]: (entry["schedule"], entry["options"]["expires"]) for entry in queueing.BEAT_SCHEDULE.values()
    }

    assert periods == {SWEEP: (2, 2), RECONCILE: (60, 60)}


@pytest.mark.process
def test_a_settings_file_may_import_the_schedule() -> None:
    script = (
        "import sys; from django_qerko.queueing import BEAT_SCHEDULE; "
        "assert not {'django_qerko.models', 'django_qerko.tasks'} & set(sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}

    done = subprocess.run([sys.executable, "-W", "error", "-c", script], cwd=ROOT, env=environment, check=False)

    assert done.returncode == 0


def test_what_beat_sends_goes_to_the_projects_own_queue(use: Use, settings: Settings) -> None:
    def sweep() -> None:
        """What beat sends."""

    broker = brokers.in_this_process()
    app = use(broker)
    task = app.task(name="sweep", base=queueing.InOurQueue)(sweep)
    settings.QERKO = {"CELERY_QUEUE": broker.own.queue}

    task.apply_async(expires=2)
    settings.QERKO = {}
    task.apply_async(expires=2)

    assert len(broker.own.messages()) == 1
    assert len(broker.messages()) == 1


def test_a_process_prepares_without_asking_celery_for_an_app(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_state, "default_app", None)

    queueing.prepare()

    assert not bool(default_app)


def test_a_process_starts_though_its_broker_is_unheard_of(use: Use) -> None:
    use(Broker(url="unheard-of://broker/"))

    queueing.prepare()


SWEPT = {"beat_schedule": queueing.BEAT_SCHEDULE}


def test_a_sound_app_has_no_trouble(use: Use) -> None:
    use(brokers.in_this_process(), **SWEPT)

    assert queueing.troubles() == []


@pytest.mark.parametrize(
    ("settings", "trouble"),
    [
        ({"task_annotations": {"*": {"acks_late": False}}}, Trouble.ACKNOWLEDGED_EARLY),
        ({"accept_content": ["pickle"]}, Trouble.UNREADABLE),
        ({"accept_content": ["unheard-of"]}, Trouble.UNREADABLE),
        ({"task_annotations": {"*": {"serializer": "pickle"}}}, Trouble.UNREADABLE),
        ({"task_default_rate_limit": "10/m"}, Trouble.RATE_LIMITED),
        ({"task_annotations": {ASK_ABOUT_PAYMENT: {"rate_limit": "1/m"}}}, Trouble.RATE_LIMITED),
        ({"beat_schedule": {RECONCILE: queueing.BEAT_SCHEDULE[RECONCILE]}}, Trouble.NOT_SWEPT),
        ({"beat_schedule": {SWEEP: queueing.BEAT_SCHEDULE[SWEEP]}}, Trouble.NOT_RECONCILED),
    ],
    ids=str,
)
def test_a_setting_that_breaks_a_promise_is_noticed(use: Use, settings: dict[str, Any], trouble: Trouble) -> None:
    use(brokers.in_this_process(), **SWEPT | settings)

    assert queueing.troubles() == [trouble]


@pytest.mark.parametrize("beat", [{}, {"other": {"task": "other", "schedule": 2}}], ids=str)
def test_a_beat_that_does_nothing_of_ours_is_noticed(use: Use, beat: dict[str, Any]) -> None:
    use(brokers.in_this_process(), beat_schedule=beat)

    assert queueing.troubles() == [Trouble.NOT_SWEPT, Trouble.NOT_RECONCILED]


@pytest.mark.parametrize(
    "settings",
    [
        {"accept_content": ["application/json"]},
        {"task_annotations": {"*": {"serializer": "pickle"}}, "accept_content": ["pickle"]},
        {"task_default_rate_limit": "10/m", "worker_disable_rate_limits": True},
        {"task_annotations": {SWEEP: {"acks_late": False}, RECONCILE: {"acks_late": False}}},
        {"beat_schedule": {name: {"task": name, "schedule": timedelta(seconds=1)} for name in (SWEEP, RECONCILE)}},
    ],
    ids=str,
)
def test_what_breaks_no_promise_is_no_trouble(use: Use, settings: dict[str, Any]) -> None:
    use(brokers.in_this_process(), **SWEPT | settings)

    assert queueing.troubles() == []


def test_an_entry_of_celerys_own_kind_sweeps_as_well(use: Use) -> None:
    app = use(brokers.in_this_process())
    app.add_periodic_task(schedule(timedelta(seconds=2)), app.tasks[SWEEP].s())
    app.add_periodic_task(schedule(timedelta(seconds=60)), app.tasks[RECONCILE].s())

    assert queueing.troubles() == []


def test_nobody_is_rung_for_without_an_app_of_the_projects(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "memory://")
    monkeypatch.setattr(_state, "default_app", None)
    monkeypatch.setattr(_state._tls, "current_app", None)  # type: ignore[attr-defined]

    with current_app.connection_for_read() as connection:
        queue = connection.SimpleQueue(current_app.conf.task_default_queue)
        # Other tests of this process ring in the same memory.
        before = queue.qsize()

        assert [ring(HANDLE_EVENT, 7), ring(HANDLE_EVENT, 8)] == [False, False]

        assert queue.qsize() == before
    assert [record.message for record in caplog.records] == [
        "The broker does not hear us: NoAppOfTheProject. Nobody rings for 3.0 s; the sweeper finds the rest."
    ]


@pytest.mark.parametrize("known_here", [False, True])
def test_celerys_own_app_is_no_app(use: Use, monkeypatch: pytest.MonkeyPatch, known_here: bool) -> None:
    here = use(brokers.in_this_process(), **SWEPT) if known_here else None
    monkeypatch.setattr(_state, "default_app", None)
    monkeypatch.setattr(_state._tls, "current_app", here)  # type: ignore[attr-defined]

    assert queueing.troubles() == [Trouble.NO_APP]
