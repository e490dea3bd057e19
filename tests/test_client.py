"""Qerko is told once, in time, and nobody else; what came of it is known as far as it can be."""

from __future__ import annotations

import http.client
import json
import logging
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_qerko import answers
from django_qerko.client import QerkoClient, QerkoRestaurant, lines, wire
from django_qerko.exceptions import CallFailed, NotSent, Refused, Unconfirmed
from tests import qerkos
from tests.clocks import Stopwatch
from tests.deliveries import KEY, SAMPLES
from tests.qerkos import Caller, StrangeQerko, Talk, drip, once, response, say, saying
from tests.servers import free_port

POS_ID = "0b2f5c1e-7f0a-4d53-9a3e-6a2f1d9c8b47"
PAYMENT = SAMPLES["paymentStart"]["payment"]
TAKEN = response()
#: Seconds to connect, and for the rest, where an answer comes.
PATIENT = (10, 10)
#: A busy machine may take its time to notice that the time is over.
LATE = 4.0

Pointing = Callable[..., None]
Opening = Callable[..., StrangeQerko]
Trusting = Callable[[str], ssl.SSLContext]


@pytest.fixture(autouse=True)
def lines_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test speaks over another's connections."""
    monkeypatch.setattr(lines, "_lines", {})
    yield
    lines.of_this_process().close()


@pytest.fixture
def point(settings: Any) -> Pointing:
    """Says where Qerko is, and how long a call may take."""

    def to(url: str, patience: tuple[float, float] = PATIENT) -> None:
        settings.QERKO = {"POS_ID": POS_ID, "BASE_URL": url, "HTTP_TIMEOUT": patience}

    return to


@pytest.fixture
def opened(point: Pointing) -> Iterator[Opening]:
    """Opens Qerkos that talk as they are told; the last one is ours."""
    houses: list[StrangeQerko] = []

    def open_one(talk: Talk, patience: tuple[float, float] = PATIENT, **how: Any) -> StrangeQerko:
        houses.append(StrangeQerko(talk, **how))
        point(houses[-1].url, patience)
        return houses[-1]

    yield open_one
    lines.of_this_process().close()
    for house in houses:
        house.close()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    with Stopwatch() as watch:
        yield
    assert watch.seconds < seconds


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def reply(result: bytes = b"null", **how: Any) -> int:
    return QerkoClient(KEY).reply("event-1", "getBill", result=result, **how)


def failing(**how: Any) -> CallFailed:
    """How a reply fails."""
    with pytest.raises(CallFailed) as caught:
        reply(**how)
    return caught.value


# -- What is said ------------------------------------------------------------------------------------


def test_a_reply_says_who_we_are_and_what_the_handler_answered(opened: Opening) -> None:
    house = opened(saying(TAKEN))

    assert reply(answers.write(answers.Json({"name": "Krčma"}))) == 200

    (request,) = house.requests
    assert request.line == "POST /api/v4/pos/reply HTTP/1.1"
    assert request.header("authorization") == "Bearer eeeu-g786-zp54-3v1c-db02-e4e1"
    assert request.header("pos-id") == POS_ID
    assert request.header("content-type") == "application/json"
    assert request.header("host") == house.url.split("/")[2]
    assert request.body == '{"id":"event-1","event":"getBill","result":{"name":"Krčma"}}'.encode()


def test_a_reply_may_be_an_error(opened: Opening) -> None:
    house = opened(saying(TAKEN))

    QerkoClient(KEY).reply('"1"', "getBill", error=answers.write_error("BILL_CLOSED", "Closed."))

    assert json.loads(house.requests[0].body) == {
        "id": '"1"',
        "event": "getBill",
        "error": {"code": "BILL_CLOSED", "message": "Closed."},
    }


@pytest.mark.parametrize("said", [{}, {"result": b"null", "error": b"{}"}, {"result": "null"}])
def test_a_reply_is_one_thing(said: dict[str, Any], opened: Opening) -> None:
    house = opened(saying(TAKEN))

    with pytest.raises(TypeError):
        QerkoClient(KEY).reply("event-1", "getBill", **said)

    assert not house.connections


def test_a_payment_is_asked_for_and_read_exactly(opened: Opening) -> None:
    payment = PAYMENT | {"state": "PAID", "tipBrutto": "12345678901.123456", "news": 1}
    house = opened(saying(response(body=json.dumps(payment).encode())))

    asked = QerkoClient(KEY).get_payment("p1")

    assert (asked.id, asked.bill_id, asked.state) == ("p1", "42", "PAID")
    assert asked.tip_brutto == Decimal("12345678901.123456")
    assert house.requests[0].line == "POST /api/v4/pos/get-payment HTTP/1.1"
    assert json.loads(house.requests[0].body) == {"paymentId": "p1"}


def test_less_than_a_whole_payment_is_none(opened: Opening) -> None:
    opened(saying(response(203, b'{"id": "p1", "state": "PAID"}')))

    with pytest.raises(Unconfirmed) as caught:
        QerkoClient(KEY).get_payment("p1")

    assert (caught.value.status, caught.value.reason) == (203, "The answer is not this payment.")


def test_a_payment_that_qerko_does_not_know_is_refused_as_such(opened: Opening) -> None:
    opened(saying(response(404)))

    with pytest.raises(Refused) as caught:
        QerkoClient(KEY).get_payment("p1")

    assert caught.value.status == 404


def test_a_payment_is_cancelled_whatever_the_body_says(opened: Opening) -> None:
    house = opened(saying(response(204, b"")))

    QerkoClient(KEY).cancel_payment("p1")

    assert house.requests[0].line == "POST /api/v4/pos/cancel-payment HTTP/1.1"
    assert json.loads(house.requests[0].body) == {"paymentId": "p1"}


def test_a_key_knows_its_restaurants(opened: Opening) -> None:
    said = [{"id": 7, "name": "U Fleků", "news": None}, {"id": "8", "name": "U Medvídků"}]
    house = opened(saying(response(body=json.dumps(said).encode())))

    assert QerkoClient(KEY).who_am_i() == [
        QerkoRestaurant(id="7", name="U Fleků"),
        QerkoRestaurant(id="8", name="U Medvídků"),
    ]
    assert house.requests[0].line == "POST /api/v4/pos/who-am-i HTTP/1.1"


UNREADABLE: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"<html>eeeu-g786</html>",
    "no UTF-8": b'"\xff"',
    "null": b"null",
    "a number": b"1",
    "an object of something else": b"{}",
    "a list of something else": b'[{"id": 1}, 2]',
    "half a surrogate pair": b'[{"id": "\\ud800", "name": ""}]',
    "nesting without end": b"[" * 60_000,
    "more than is read": b'"%b"' % (b" " * 80_000),
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize(
    "ask",
    [
        lambda qerko: qerko.get_payment("p1"),
        lambda qerko: qerko.get_payment_as_told("p1"),
        lambda qerko: qerko.who_am_i(),
    ],
    ids=["get_payment", "get_payment_as_told", "who_am_i"],
)
def test_an_answer_that_cannot_be_read_confirms_nothing(
    ask: Callable[[QerkoClient], object], body: bytes, opened: Opening
) -> None:
    opened(saying(response(body=body)))

    with pytest.raises(Unconfirmed) as caught:
        ask(QerkoClient(KEY))

    assert caught.value.status == 200
    assert "eeeu" not in str(caught.value)


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
def test_a_reply_that_was_taken_is_taken_whatever_the_body_says(body: bytes, opened: Opening) -> None:
    opened(saying(response(202, body)))

    assert reply() == 202


# -- What a status means (protocol section 3) -------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 203, 204, 205, 206, 226, 299])
def test_a_status_from_200_to_299_takes_the_reply(status: int, opened: Opening) -> None:
    opened(saying(response(status, b"")))

    assert reply() == status


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, Refused) for status in (400, 401, 403, 404, 409, 410, 422)),
        *((status, Refused) for status in (402, 405, 406, 407, 411, 412, 413, 414, 415, 421, 423, 424, 426, 451, 499)),
        *((status, Refused) for status in (300, 301, 302, 303, 304, 307, 308)),
        *((status, Unconfirmed) for status in (408, 425, 429, 500, 501, 502, 503, 504, 520, 599)),
        (101, Unconfirmed),
    ],
)
def test_any_other_status_says_whether_to_try_again(status: int, kind: type[CallFailed], opened: Opening) -> None:
    house = opened(saying(response(status, b"")))

    failure = failing()

    assert type(failure) is kind
    assert failure.status == status
    assert failure.reason.startswith(str(status))
    assert len(house.requests) == 1


@pytest.mark.parametrize("status", [600, 999])
def test_a_number_that_is_no_status_is_none(status: int, opened: Opening) -> None:
    opened(saying(response(status, b"")))

    failure = failing()

    assert (type(failure), failure.status) == (Unconfirmed, None)
    assert failure.reason == f"{status} is no status of HTTP."


EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </qerko.css>\r\n\r\n"


@pytest.mark.parametrize(
    "before",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" * 3,
        EARLY_HINTS,
        b"HTTP/1.1 102 Processing\r\n\r\n" * 2 + EARLY_HINTS + b"HTTP/1.1 100 Continue\r\n\r\n",
        response(199, b"", Connection="close"),
    ],
    ids=["continue", "early hints", "of each one", "with headers of a body"],
)
def test_what_says_that_the_answer_will_come_is_no_answer_yet(before: bytes, opened: Opening) -> None:
    house = opened(saying(before + response(body=b'[{"id": 7, "name": "U Flek"}]')))

    assert QerkoClient(KEY).who_am_i() == QerkoClient(KEY).who_am_i() == [QerkoRestaurant(id="7", name="U Flek")]

    assert (len(house.requests), house.connections) == (2, 1)


def test_a_refusal_after_early_hints_is_heard(opened: Opening) -> None:
    opened(saying(EARLY_HINTS, response(422)))

    assert (type(failure := failing()), failure.status) == (Refused, 422)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_bearer_goes_nowhere_else(status: int, opened: Opening) -> None:
    elsewhere = opened(saying(TAKEN))
    opened(saying(response(status, b"", Location=elsewhere.url)))

    assert type(failing()) is Refused
    assert not elsewhere.connections


def test_neither_a_proxy_nor_netrc_nor_a_cookie_has_a_say(
    opened: Opening, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    proxy = opened(saying(TAKEN))
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    house = opened(saying(response(Set_Cookie="table=1; Path=/")))

    assert (reply(), reply()) == (200, 200)

    assert not proxy.connections
    assert house.requests[0].headers == house.requests[1].headers
    assert house.requests[0].header("authorization").startswith("Bearer ")
    assert "cookie" not in str(house.requests[1].headers).lower()


# -- What goes wrong, and by when it is over ---------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

BROKEN: dict[str, tuple[Talk, int | None]] = {
    # how Qerko talks, and the status that could be heard
    "hangs up before it reads": (lambda caller: None, None),
    "hangs up after it has read": (once(), None),
    "tears the line down": (once(Caller.reset), None),
    "reads and says nothing": (once(Caller.wait), None),
    "says half a status line": (once(say(b"HTTP/1.1 20")), None),
    "drips its status line": (once(drip(TAKEN)), None),
    "drips its headers": (once(say(b"HTTP/1.1 200 OK\r\n"), drip(b"A: 1\r\n" * 100)), None),
    "sends headers without end": (once(say(b"HTTP/1.1 200 OK\r\n"), say(b"A: 1\r\n" * 20_000)), None),
    "sends a header without end": (once(say(b"HTTP/1.1 200 OK\r\nA: "), say(b"1" * 200_000)), None),
    "says continue without end": (once(say(b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000)), None),
    "says hints and nothing more": (once(say(EARLY_HINTS), Caller.wait), None),
    "says hints and hangs up": (once(say(EARLY_HINTS)), None),
    "says hints without end": (once(say(EARLY_HINTS * 20_000)), None),
    "drips hints without end": (once(drip(EARLY_HINTS * 100)), None),
    "speaks no HTTP": (once(say(b"220 smtp.qerko.example ESMTP eeeu-g786\r\n")), None),
    "says a status that is none": (once(say(b"HTTP/1.1 OK 200\r\n\r\n")), None),
    "drips its body": (once(say(HEAD), drip(b" " * 400)), 200),
    "drips its chunks": (once(say(CHUNKED), drip(b"1\r\n \r\n" * 100)), 200),
    "stops in its body": (once(say(HEAD + b" " * 50), Caller.wait), 200),
    "hangs up in its body": (once(say(HEAD + b" " * 50)), 200),
    "hangs up between chunks": (once(say(CHUNKED + b"4\r\nnull\r\n")), 200),
    "sends a chunk of no size": (once(say(CHUNKED + b"many\r\n")), 200),
    "sends a chunk of less than nothing": (once(say(CHUNKED + b"-9\r\n")), 200),
}


@pytest.mark.parametrize(("talk", "status"), BROKEN.values(), ids=BROKEN)
def test_what_was_sent_and_not_confirmed_is_over_in_time(talk: Talk, status: int | None, opened: Opening) -> None:
    house = opened(talk, (10, 1))

    with within(1 + LATE):
        failure = failing()

    assert type(failure) is Unconfirmed
    assert failure.status == status
    assert "eeeu" not in str(failure)
    until(lambda: house.hung_up == house.connections)
    assert reply_reaches_another(opened)


def reply_reaches_another(opened: Opening) -> bool:
    """What broke leaves nothing behind."""
    house = opened(saying(TAKEN))
    return reply() == 200 and len(house.requests) == 1


def test_a_slow_answer_that_ends_in_time_is_taken(opened: Opening) -> None:
    opened(once(drip(TAKEN, every=0.001)), (1, 10))

    assert reply() == 200


@pytest.mark.parametrize(("status", "kind"), [(401, Refused), (307, Refused), (503, Unconfirmed), (101, Unconfirmed)])
@pytest.mark.parametrize(
    "rest",
    [lambda caller: None, Caller.wait, drip(b" " * 400), say(b" " * 200_000)],
    ids=["ends", "stays", "drips", "is long"],
)
def test_the_body_of_a_failure_is_not_waited_for(
    rest: Talk, status: int, kind: type[CallFailed], opened: Opening
) -> None:
    head = f"HTTP/1.1 {status} Said\r\nContent-Length: 200000\r\n\r\n".encode()
    opened(once(say(head), rest), (5, 30))

    with within(5):
        failure = failing()

    assert type(failure) is kind
    assert failure.status == status


def test_a_refusal_before_everything_was_read_is_heard(opened: Opening) -> None:
    def turn_away(caller: Caller) -> None:
        caller.say(response(413))
        time.sleep(0.1)

    opened(turn_away, (5, 30))

    failure = failing(result=b'"%b"' % (b"x" * 20_000_000))

    assert (type(failure), failure.status) == (Refused, 413)


def test_nothing_leaves_after_the_deadline(opened: Opening) -> None:
    over = threading.Event()
    counted: list[tuple[int, int]] = []

    def be_deaf(caller: Caller) -> None:
        over.wait(10)
        counted.append((caller.unread(), caller.read_all()))

    house = opened(be_deaf, (5, 5))

    with within(0.4 + LATE):
        failure = failing(result=b'"%b"' % (b"x" * 20_000_000), deadline=time.monotonic() + 0.4)
    over.set()
    until(lambda: house.hung_up == 1)

    assert type(failure) is Unconfirmed
    ((arrived, read),) = counted
    assert 0 < arrived < 20_000_000
    assert read <= arrived


@pytest.mark.parametrize("talk", [once(Caller.wait), once(drip(TAKEN * 10))], ids=["silent", "dripping"])
def test_the_deadline_counts_more_than_our_patience(talk: Talk, opened: Opening) -> None:
    opened(talk, (5, 30))

    with within(0.3 + LATE):
        failure = failing(deadline=time.monotonic() + 0.3)

    assert type(failure) is Unconfirmed


def test_after_the_deadline_nobody_is_called(opened: Opening) -> None:
    house = opened(saying(TAKEN))
    assert reply() == 200

    for deadline in (time.monotonic(), time.monotonic() - 100):
        assert type(failing(deadline=deadline)) is NotSent

    assert len(house.requests) == 1


def test_where_nobody_listens_nothing_is_sent(point: Pointing) -> None:
    point(f"http://127.0.0.1:{free_port()}")

    failure = failing()

    assert type(failure) is NotSent
    assert (failure.status, failure.reason) == (None, "Connection refused")


def test_a_house_that_does_not_open_is_not_waited_for(point: Pointing) -> None:
    with qerkos.full_house() as url:
        point(url, (0.3, 30))

        with within(0.3 + LATE):
            assert type(failing()) is NotSent


# -- Names: the one thing that no server on loopback can play is the system's resolver ---------------------


def test_a_resolver_that_hangs_is_not_waited_for_and_asked_once(
    point: Pointing, monkeypatch: pytest.MonkeyPatch
) -> None:
    awake, asked = threading.Event(), []

    def hang(*place: Any, **how: Any) -> Any:
        asked.append(place)
        awake.wait(10)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    point("http://qerko.example", (0.2, 30))

    with within(0.4 + LATE):
        assert [type(failing()), type(failing())] == [NotSent, NotSent]
    assert asked == [("qerko.example", 80)]

    threading.Timer(0.1, awake.set).start()
    point("http://qerko.example", (10, 30))
    assert failing().reason == "Temporary failure in name resolution"
    assert failing().reason == "Temporary failure in name resolution"
    assert len(asked) >= 2


def test_a_name_that_cannot_be_one_reaches_nobody(point: Pointing) -> None:
    point("http://qerko..example")

    assert type(failing()) is NotSent


def test_an_address_that_is_silent_leaves_the_next_its_time(opened: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    def addresses(*urls: str) -> list[Any]:
        ports = [int(url.split(":")[2].partition("/")[0]) for url in urls]
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port)) for port in ports]

    house = opened(saying(TAKEN), (0.6, 0.4))
    with qerkos.full_house() as silent:
        refusing = f"http://127.0.0.1:{free_port()}"
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses(refusing, silent, house.url))

        assert reply() == 200


# -- Connections are used again ------------------------------------------------------------------------


def test_a_connection_is_used_again(opened: Opening) -> None:
    house = opened(saying(TAKEN))

    assert {QerkoClient(key).reply(str(n), "getBill", result=b"1") for n in range(5) for key in (KEY, "another")} == {
        200
    }

    assert len(house.requests) == 10
    assert house.connections == 1


@pytest.mark.parametrize(
    "said",
    [response(204, b""), response(401), response(503), CHUNKED + b"2\r\n[]\r\n0\r\n\r\n"],
    ids=["204", "401", "503", "chunks"],
)
def test_a_connection_is_used_again_after_any_whole_response(said: bytes, opened: Opening) -> None:
    house = opened(saying(said))

    for _ in range(2):
        try_reply()

    assert (len(house.requests), house.connections) == (2, 1)


def try_reply() -> None:
    """Reply, whatever becomes of it."""
    try:
        reply()
    except CallFailed:
        return


@pytest.mark.parametrize(
    "said",
    [
        response(Connection="close"),
        b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nnull",
        response(body=b" " * 80_000),
        response(101, b""),
        response(503, b"", Content_Length=10),
    ],
    ids=["it says so", "HTTP/1.0", "too long", "another protocol", "incomplete"],
)
def test_a_connection_is_not_used_again_where_something_may_follow(said: bytes, opened: Opening) -> None:
    house = opened(saying(said))

    for _ in range(2):
        try_reply()

    assert (len(house.requests), house.connections) == (2, 2)


def test_qerko_may_hang_up_and_is_not_cut_off(opened: Opening) -> None:
    parted: list[bool] = []
    opened(once(say(response(Connection="close")), Caller.wait, lambda caller: parted.append(True)))

    assert reply() == 200

    until(lambda: parted == [True])


def test_a_body_may_end_with_the_connection(opened: Opening) -> None:
    opened(once(say(b"HTTP/1.1 200 OK\r\n\r\n[]")))

    assert QerkoClient(KEY).who_am_i() == []


@pytest.mark.parametrize(
    "afterwards",
    [lambda caller: None, Caller.reset, lambda caller: (caller.say(TAKEN), caller.wait())],
    ids=["closed", "reset", "spoken on"],
)
def test_a_connection_that_went_stale_is_no_failure(afterwards: Talk, opened: Opening) -> None:
    house = opened(once(say(TAKEN), lambda caller: time.sleep(0.05), afterwards))

    assert reply() == 200
    time.sleep(0.2)
    assert reply() == 200

    assert (len(house.requests), house.connections) == (2, 2)


def test_a_connection_does_not_rest_for_long(opened: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    house = opened(saying(TAKEN))
    monkeypatch.setattr(wire, "REST", 0.02)

    reply()
    time.sleep(0.05)
    reply()

    assert house.connections == 2
    until(lambda: house.hung_up == 1)


def test_a_line_that_breaks_before_the_first_byte_has_sent_nothing(opened: Opening) -> None:
    over = threading.Event()
    house = opened(once(say(TAKEN), lambda caller: over.wait(10)))
    reply()
    # Qerko has not noticed yet, so that nothing looks wrong until something is sent.
    lines.of_this_process()._resting[0].shutdown(socket.SHUT_WR)

    assert type(failing()) is NotSent

    over.set()
    assert (len(house.requests), house.connections) == (1, 1)


def test_threads_speak_on_connections_of_their_own(opened: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MOST_RESTING", 2)
    together = threading.Barrier(4)

    def wait_for_all(caller: Caller) -> None:
        while caller.listen():
            together.wait(10)
            caller.say(TAKEN)

    house = opened(wait_for_all, (5, 10))
    client = QerkoClient(KEY)
    with ThreadPoolExecutor(4) as threads:
        said = threads.map(lambda n: client.reply(f"event-{n}", "getBill", result=b"%d" % n), range(40))

        assert set(said) == {200}

    bodies = [json.loads(request.body) for request in house.requests]
    assert {body["id"]: body["result"] for body in bodies} == {f"event-{n}": n for n in range(40)}
    assert len(bodies) == 40
    until(lambda: house.connections - house.hung_up == 2)


@pytest.mark.process
def test_a_fork_has_connections_of_its_own(opened: Opening) -> None:
    house = opened(saying(TAKEN))
    script = """
import os, sys
from django.conf import settings
settings.configure(QERKO={"POS_ID": "1", "BASE_URL": sys.argv[1]})
from django_qerko.client import QerkoClient, lines
reply = lambda: QerkoClient("key").reply(str(os.getpid()), "getBill", result=b"null")
reply()
child = os.fork()
if not child:
    reply()
    assert len(lines._lines) == 1
    lines.of_this_process().close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
reply()
lines.of_this_process().close()
"""
    subprocess.run([sys.executable, "-c", script, house.url], check=True, timeout=60)

    parent, child, again = (json.loads(request.body)["id"] for request in house.requests)
    assert parent == again != child
    assert house.connections == 2


# -- TLS -----------------------------------------------------------------------------------------------


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trusting:
    """Makes the server's side of TLS for a host, with a certificate that this machine trusts."""

    def trust(host: str) -> ssl.SSLContext:
        file = qerkos.certificate(tmp_path, host)
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        return qerkos.tls(file)

    return trust


def test_a_certificate_that_nobody_signed_hears_nothing(opened: Opening, tmp_path: Path) -> None:
    house = opened(saying(TAKEN), (5, 5), tls=qerkos.tls(qerkos.certificate(tmp_path, "127.0.0.1")))

    failure = failing()

    assert type(failure) is NotSent
    assert "self-signed certificate" in failure.reason.replace("self signed", "self-signed")
    assert not house.requests


def test_a_certificate_of_somebody_else_hears_nothing(opened: Opening, trusted: Trusting) -> None:
    house = opened(saying(TAKEN), (5, 5), tls=trusted("127.0.0.2"))

    failure = failing()

    assert type(failure) is NotSent
    assert "127.0.0.1" in failure.reason
    assert not house.requests


def test_a_certificate_that_the_machine_trusts_hears_everything(opened: Opening, trusted: Trusting) -> None:
    house = opened(saying(TAKEN), (5, 5), tls=trusted("127.0.0.1"))

    assert (reply(b'"%b"' % (b"x" * 300_000)), reply()) == (200, 200)

    assert [len(request.body) for request in house.requests] == [300_046, 48]
    assert house.connections == 1


@pytest.mark.parametrize(
    "talk",
    [once(Caller.wait), once(drip(TAKEN)), once(say(HEAD), drip(b" " * 400))],
    ids=["silent", "drips its head", "drips its body"],
)
def test_the_clock_runs_under_tls_as_well(talk: Talk, opened: Opening, trusted: Trusting) -> None:
    opened(talk, (5, 0.4), tls=trusted("127.0.0.1"))

    with within(3):
        assert type(failing()) is Unconfirmed


@pytest.mark.parametrize(
    "talk", [Caller.read_all, drip(b"\x16\x03\x03\x40\x00" + b"2" * 400)], ids=["silent", "dripping"]
)
def test_a_greeting_that_does_not_end_is_cut_short(talk: Talk, opened: Opening, point: Pointing) -> None:
    house = opened(talk)
    point(house.url.replace("http:", "https:"), (0.4, 30))

    with within(0.4 + LATE):
        assert type(failing()) is NotSent


# -- What a project forgot ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", [None, "", "qerko.example", "ftp://qerko.example", "https://", "http://[", "http://a:b"]
)
def test_without_an_address_nobody_is_called(url: str | None, settings: Any) -> None:
    settings.DEBUG = False
    settings.QERKO = {"POS_ID": POS_ID, "BASE_URL": url}

    with pytest.raises(ImproperlyConfigured, match="BASE_URL"):
        reply()


@pytest.mark.parametrize("pos_id", [None, "", 7])
def test_without_a_pos_id_nobody_is_called(pos_id: object, opened: Opening, settings: Any) -> None:
    house = opened(saying(TAKEN))
    settings.QERKO = settings.QERKO | {"POS_ID": pos_id}

    with pytest.raises(ImproperlyConfigured, match="POS_ID"):
        reply()

    assert not house.connections


@pytest.mark.parametrize(
    "broken",
    [{"POS_ID": "1\r\nX: 2"}, {"POS_ID": "\u2603"}, {"BASE_URL": "/ /"}, {"BASE_URL": "/\u2603"}],
    ids=["two headers", "snow", "a space", "a path of snow"],
)
def test_what_cannot_stand_in_a_request_is_not_sent(broken: dict[str, str], opened: Opening, settings: Any) -> None:
    house = opened(saying(TAKEN))
    if "BASE_URL" in broken:
        broken = {"BASE_URL": house.url + broken["BASE_URL"]}
    settings.QERKO = settings.QERKO | broken

    assert type(failing()) is NotSent
    assert not house.requests


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://qerko.example/api", wire.Place(secure=False, host="qerko.example", port=80)),
        ("https://qerko.example", wire.Place(secure=True, host="qerko.example", port=443)),
        ("https://qerko.example:8443/", wire.Place(secure=True, host="qerko.example", port=8443)),
        ("http://[::1]:8765", wire.Place(secure=False, host="::1", port=8765)),
    ],
)
def test_an_address_names_a_place(url: str, place: wire.Place) -> None:
    assert wire.Place.of(urlsplit(url)) == place


# -- The key is never seen ------------------------------------------------------------------------------

SECRET = "eeeu-g786-zp54-3v1c-db02"


def seen_in(error: BaseException | None) -> Iterator[str]:
    """What an error page or a tracker shows of an error: words, causes, and local variables outside this module."""
    while error is not None:
        yield repr(error) + str(error) + repr(getattr(error, "__dict__", None))
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if frame.f_code.co_filename != __file__:
                yield repr({name: value for name, value in frame.f_locals.items() if name != "self"})
        error = error.__cause__ or error.__context__


class Stopped(BaseException):
    """As Celery stops a task that takes too long."""


@contextmanager
def stopped_after(seconds: float) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise Stopped

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    yield
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    "talk", [once(), once(say(HEAD)), saying(response(401)), saying(response(503)), once(drip(TAKEN))]
)
def test_no_failure_shows_the_key(talk: Talk, opened: Opening) -> None:
    opened(talk, (10, 1))

    failure = failing()

    assert SECRET not in "".join(seen_in(failure))
    assert (failure.__cause__, failure.__context__) == (None, None)


@pytest.mark.parametrize("body", [b"null", b'"%b"' % (b"x" * 8_000_000)], ids=["while it waits", "while it sends"])
def test_a_call_that_is_stopped_from_outside_shows_no_key_and_leaves_no_line(body: bytes, opened: Opening) -> None:
    over = threading.Event()
    house = opened(lambda caller: (over.wait(10), caller.read_all()), (5, 30))

    with stopped_after(0.2), within(0.2 + LATE), pytest.raises(Stopped) as caught:
        reply(body)
    over.set()

    assert SECRET not in "".join(seen_in(caught.value))
    until(lambda: house.hung_up == 1)


def test_a_key_that_is_none_is_not_shown() -> None:
    with pytest.raises(ValueError, match="printable") as caught:
        QerkoClient(f"{SECRET} ")

    assert SECRET not in "".join(seen_in(caught.value))


def test_a_client_shows_four_characters() -> None:
    assert repr(QerkoClient(KEY)) == repr(QerkoClient(f"{SECRET}-e4e1")) == "<QerkoClient …e4e1>"


def test_a_call_is_logged_in_one_line_without_the_key(
    opened: Opening,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    opened(saying(response(429)))

    with caplog.at_level(logging.DEBUG):
        failing()
        opened(saying(TAKEN))
        reply()

    refused, taken = caplog.messages
    assert re.fullmatch(r"POST /reply: 429 Too Many Requests, after \d+ ms", refused)
    assert re.fullmatch(r"POST /reply: 200 OK, after \d+ ms", taken)
    assert {record.name.partition(".")[0] for record in caplog.records} == {"django_qerko"}
    assert capfd.readouterr() == ("", "")
