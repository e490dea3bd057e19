"""The sandbox as a stranger's point of sale hears it: signed both ways, under one clock, on this machine only."""

from __future__ import annotations

import json
import socket
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from django_qerko.keys import ApiKey
from django_qerko.sandbox import calling
from django_qerko.sandbox.calling import MAX_ANSWER, Clock
from django_qerko.sandbox.loopback import callable_address
from django_qerko.sandbox.qerko import Exchange, PointOfSale, Qerko
from django_qerko.sandbox.remembering import REMEMBERED
from tests.deliveries import KEY
from tests.points_of_sale import Misbehaviour, Till, a_till

NOW = 1_800_000_000.5
BILL = {"id": "42", "currency": "CZK", "items": [{"id": "1", "name": "Pivo", "quantity": "2", "price": "55.00"}]}


@pytest.fixture
def qerko() -> Iterator[Qerko]:
    with Qerko(clock=lambda: NOW) as qerko:
        yield qerko


@pytest.fixture
def till() -> Iterator[Till]:
    with a_till(getBill=BILL, getTableList=[]) as till:
        yield till


def never(seconds: float = 30) -> None:
    """Wait for nothing, so that whoever waits for us gives up first."""
    threading.Event().wait(seconds)


# -- What leaves ----------------------------------------------------------------------------------


def test_a_delivery_is_sealed_twice_and_in_time(qerko: Qerko, till: Till) -> None:
    exchange = qerko.ask(till.pos(), "getBill", {"billId": "42"})

    (received,) = till.received
    assert received.rfc9421_holds
    assert received.hmac_holds
    assert received.window == (1_800_000_000, 1_800_000_060)
    assert received.headers["Content-Type"] == "application/json"
    assert exchange.status == exchange.expected == 200
    assert exchange.answer == BILL
    assert not exchange.findings


def test_the_envelope_is_that_of_the_protocol(qerko: Qerko, till: Till) -> None:
    exchange = qerko.ask(till.pos(), "getBill", {"billId": "42"}, event_id="e-1", extra={"news": Decimal("1.50")})

    assert till.received[0].document == {
        "id": "e-1",
        "event": "getBill",
        "data": {"billId": "42"},
        "created": "2027-01-15T08:00:00+00:00",
        "expires": "2027-01-15T08:01:00+00:00",
        "news": "1.50",
    }
    assert exchange.event_id == "e-1"
    assert exchange.request_body == till.received[0].body
    assert dict(exchange.request_headers).items() <= dict(till.received[0].headers).items()


def test_an_event_gets_an_id_of_its_own(qerko: Qerko, till: Till) -> None:
    asked = [qerko.ask(till.pos(), "getTableList") for _ in range(2)]

    assert len({uuid.UUID(exchange.event_id) for exchange in asked}) == 2


@pytest.mark.parametrize(("scheme", "rfc9421", "plain"), [("rfc9421", True, False), ("hmac-sha256", False, True)])
def test_one_scheme_alone(qerko: Qerko, till: Till, scheme: str, rfc9421: bool, plain: bool) -> None:
    qerko.ask(till.pos(), "getTableList", schemes=[scheme])

    assert till.received[0].rfc9421_holds == rfc9421
    assert till.received[0].hmac_holds == plain


def test_a_url_for_each_event_names_it_instead_of_the_body(qerko: Qerko, till: Till) -> None:
    exchange = qerko.ask(till.pos(url=f"{till.url}?shop=1"), "get/Bill", url_per_event=True)

    assert till.received[0].path == "/hook/get%2FBill/?shop=1"
    assert "event" not in till.received[0].document
    assert till.received[0].rfc9421_holds
    assert exchange.event == "get/Bill"


@pytest.mark.parametrize("url", ["", "?a=b c", "#top", "/ž/../x y/", "/%7e"])
def test_the_address_is_signed_as_it_is_called(qerko: Qerko, till: Till, url: str) -> None:
    qerko.ask(till.pos(url=f" HTTP://LOCALHOST:{till.port}{url}"), "getTableList")

    assert till.received[0].rfc9421_holds


@pytest.mark.parametrize(
    ("url", "called"),
    [
        ("http://localhost:80", "http://localhost/"),
        ("https://localhost:443/a", "https://localhost/a"),
        ("http://localhost:443/", "http://localhost:443/"),
        ("http://[::1]:8000/a#b", "http://[::1]:8000/a"),
    ],
)
def test_an_address_has_one_spelling(url: str, called: str) -> None:
    assert callable_address(url) == called


def test_age_and_lifetime_move_the_window(qerko: Qerko, till: Till) -> None:
    late = qerko.ask(till.pos(), "getTableList", age=61)
    early = qerko.ask(till.pos(), "getTableList", age=-6)
    nearly_early = qerko.ask(till.pos(), "getTableList", age=-5)
    old = qerko.ask(till.pos(), "getTableList", age=100, lifetime=200)

    assert till.received[0].window == (1_799_999_939, 1_799_999_999)
    assert till.received[3].window == (1_799_999_900, 1_800_000_100)
    assert [exchange.expected for exchange in (late, early, nearly_early, old)] == [410, 410, 200, 200]


@pytest.mark.parametrize("tamper", ["body", "signature", "digest", "key", "label", "missing"])
def test_a_tampered_delivery_has_a_broken_seal(qerko: Qerko, till: Till, tamper: str) -> None:
    exchange = qerko.ask(till.pos(), "getTableList", tamper=tamper)

    assert not till.received[0].rfc9421_holds
    assert till.received[0].hmac_holds == (tamper in {"digest", "label"})
    assert till.received[0].document["event"] == "getTableList"
    assert exchange.expected == 401


@pytest.mark.parametrize(
    ("how", "complaint"),
    [
        ({"tamper": "everything"}, "Nobody knows the tampering"),
        ({"tamper": "digest", "schemes": ["hmac-sha256"]}, "needs the scheme rfc9421"),
        ({"schemes": []}, "is signed by"),
        ({"schemes": ["md5"]}, "is signed by"),
    ],
)
def test_what_cannot_be_delivered_is_refused(qerko: Qerko, till: Till, how: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        qerko.ask(till.pos(), "getTableList", **how)

    assert not till.received
    assert not qerko.conversation


def test_data_that_is_no_json_is_refused(qerko: Qerko, till: Till) -> None:
    with pytest.raises(TypeError, match="set is no JSON"):
        qerko.ask(till.pos(), "getBill", {1, 2})


# -- Who is called --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("http://example.com/hook", "example.com is not this machine"),
        ("http://127.0.0.1.example.com/", "is not this machine"),
        ("http://192.168.1.2/", "192.168.1.2 is not this machine"),
        ("http://2130706433/", "is not this machine"),
        ("http://[::2]/", "is not this machine"),
        ("http://guest:secret@127.0.0.1/", "with a user or a password"),
        ("ftp://127.0.0.1/", "no absolute http or https URL"),
        ("/hook", "no absolute http or https URL"),
        ("http://127.0.0.1:99999999/", "no URL"),
    ],
)
def test_nobody_else_is_called(qerko: Qerko, url: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as refusal:
        qerko.ask(PointOfSale(url=url, api_key=KEY), "getTableList")

    assert "secret" not in str(refusal.value)


def test_another_machine_is_called_where_that_is_allowed() -> None:
    with Qerko(allow_remote=True, timeout=0.01) as qerko:
        exchange = qerko.ask(PointOfSale(url="https://192.0.2.1/", api_key=KEY), "getTableList")

    assert exchange.request_url == "https://192.0.2.1/"
    assert exchange.status is None


def test_a_proxy_of_the_environment_is_not_asked(qerko: Qerko, till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    assert qerko.ask(till.pos(), "getTableList").status == 200


@pytest.mark.parametrize(("rest", "connections"), [(60.0, 1), (0.0, 3)])
def test_a_connection_is_used_again_until_the_other_end_may_hang_up(
    qerko: Qerko, till: Till, monkeypatch: pytest.MonkeyPatch, rest: float, connections: int
) -> None:
    monkeypatch.setattr(calling, "REST", rest)

    for _ in range(3):
        qerko.ask(till.pos(), "getTableList")

    assert len({received.connection for received in till.received}) == connections


def test_a_connection_on_which_an_error_came_is_not_used_again(
    qerko: Qerko, till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calling, "REST", 60.0)
    till.answers["getTableList"] = iter([{"tables": []}, (400, {"code": "BAD_REQUEST", "message": ""}), None])

    for _ in range(3):
        qerko.ask(till.pos(), "getTableList")

    first, second, third = (received.connection for received in till.received)
    assert first == second != third


# -- What comes back ------------------------------------------------------------------------------


def test_nobody_listens(qerko: Qerko, till: Till) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        exchange = qerko.ask(till.pos(url=f"http://127.0.0.1:{taken.getsockname()[1]}/"), "getTableList")

    assert (exchange.status, exchange.error, exchange.answer) == (None, "connection refused", None)
    assert exchange.is_error


def test_no_tls_where_it_is_expected(qerko: Qerko, till: Till) -> None:
    exchange = qerko.ask(till.pos(url=till.url.replace("http:", "https:")), "getTableList")

    assert exchange.status is None
    assert "ssl" in str(exchange.error).lower()


def test_a_cut_line(qerko: Qerko) -> None:
    with a_till(lambda wire: wire.connection.shutdown(socket.SHUT_RDWR)) as till:
        exchange = qerko.ask(till.pos(), "getTableList")

    assert exchange.status is None
    assert "without response" in str(exchange.error)


def test_a_body_that_ends_early(qerko: Qerko) -> None:
    def promise_more(wire: BaseHTTPRequestHandler) -> None:
        wire.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n[]")

    with a_till(promise_more) as till:
        exchange = qerko.ask(till.pos(), "getTableList")

    assert exchange.status is None
    assert "2 bytes read" in str(exchange.error)


def silent(wire: BaseHTTPRequestHandler) -> None:
    never()


def dripping(head: bytes, drop: bytes) -> Misbehaviour:
    """Begins an answer, and never comes to its end."""

    def drip(wire: BaseHTTPRequestHandler) -> None:
        wire.wfile.write(b"HTTP/1.1 200 OK\r\n" + head)
        while True:
            wire.wfile.write(drop)
            wire.wfile.flush()
            never(0.02)

    return drip


DRIPPING_HEAD = dripping(b"X-Drip: ", b"x")
DRIPPING_BODY = dripping(b"\r\n", b" ")
DRIPPING_CHUNK = dripping(b"Transfer-Encoding: chunked\r\n\r\n", b"0")


@pytest.mark.parametrize(
    "misbehave", [silent, DRIPPING_HEAD, DRIPPING_BODY, DRIPPING_CHUNK], ids=["silent", "head", "body", "chunk"]
)
def test_the_whole_exchange_is_under_one_clock(misbehave: Misbehaviour) -> None:
    with a_till(misbehave) as till, Qerko(timeout=0.3) as qerko:
        exchange = qerko.ask(till.pos(), "getTableList")

    assert (exchange.status, exchange.error) == (None, "no answer within 0.3 seconds")
    assert 300 <= exchange.milliseconds < 3000


def test_a_line_that_is_watched_too_late_is_cut_at_once() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, Clock(0) as clock:
        assert clock.over.wait(5)

        clock.watch(ours)

        assert theirs.recv(1) == b""


def test_an_endless_answer_is_not_read(qerko: Qerko) -> None:
    def endless(wire: BaseHTTPRequestHandler) -> None:
        wire.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            wire.wfile.write(b"[" * 65536)

    with a_till(endless) as till:
        exchange = qerko.ask(till.pos(), "getTableList")

    assert (exchange.status, exchange.error) == (None, "the answer has more than 1000000 bytes")
    assert len(exchange.response_body) == MAX_ANSWER


def test_a_redirect_is_not_followed(qerko: Qerko) -> None:
    def redirect(wire: BaseHTTPRequestHandler) -> None:
        wire.wfile.write(b"HTTP/1.1 307 Moved\r\nLocation: http://[broken/\r\nContent-Length: 0\r\n\r\n")

    with a_till(redirect) as till:
        exchange = qerko.ask(till.pos(), "getTableList")

    assert exchange.status == 307
    assert len(till.received) == 1


def test_an_error_is_told_with_its_code(qerko: Qerko, till: Till) -> None:
    till.answers["getBill"] = (422, {"code": "BILL_CLOSED", "message": "It was paid."})

    exchange = qerko.ask(till.pos(), "getBill", {"billId": "1"})

    assert exchange.is_error
    assert not exchange.is_answered
    assert (exchange.error_code, exchange.error_message) == ("BILL_CLOSED", "It was paid.")


@pytest.mark.parametrize("said", [None, [], {}, {"code": 1}])
def test_an_error_may_have_no_code(qerko: Qerko, till: Till, said: Any) -> None:
    till.answers["getBill"] = (422, said)

    assert qerko.ask(till.pos(), "getBill", {"billId": "1"}).error_code is None


def test_numbers_are_exact(qerko: Qerko, till: Till) -> None:
    till.answers["getBill"] = b"[12345678901234567.89, 1e400, 3]"

    assert qerko.ask(till.pos(), "getBill").answer == [Decimal("12345678901234567.89"), Decimal("1E+400"), 3]


@pytest.mark.parametrize(
    "body", [b"", b"no", b"\xff", b"NaN", b"1e9999999999999999999999", b"[" * 200_000], ids=lambda body: body[:6]
)
def test_what_is_no_json_is_no_answer(qerko: Qerko, till: Till, body: bytes) -> None:
    till.answers["getBill"] = body

    assert qerko.ask(till.pos(), "getBill").answer is None


# -- The conversation -----------------------------------------------------------------------------


def test_every_exchange_is_told_and_remembered(till: Till) -> None:
    told: list[Exchange] = []
    with Qerko(on_exchange=told.append) as qerko:
        qerko.ask(till.pos(), "getTableList")
        qerko.ask(till.pos(), "getBill", {"billId": "42"})

    assert [(exchange.number, exchange.event) for exchange in told] == [(1, "getTableList"), (2, "getBill")]
    assert list(qerko.conversation) == told
    assert told[0].at.utcoffset() is not None
    assert told[0].milliseconds > 0


def test_several_threads_ask_at_once_and_old_exchanges_are_forgotten(qerko: Qerko, till: Till) -> None:
    with ThreadPoolExecutor(4) as threads:
        asked = list(threads.map(lambda _: qerko.ask(till.pos(), "getTableList"), range(REMEMBERED + 20)))

    assert {exchange.number for exchange in asked} == set(range(1, REMEMBERED + 21))
    assert len(qerko.conversation) == REMEMBERED


def test_no_key_is_seen(qerko: Qerko, till: Till, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="")
    till.answers["getBill"] = (422, {"code": None, "message": KEY.reveal()})

    exchange = qerko.ask(till.pos(), "getBill", {"billId": "42"})

    assert KEY.reveal() not in repr(exchange) + repr(till.pos()) + repr(qerko.conversation) + caplog.text
    assert KEY.reveal() not in json.dumps(dict(exchange.request_headers)) + exchange.request_body.decode()


def test_a_key_that_is_short_is_a_key(qerko: Qerko, till: Till) -> None:
    assert qerko.ask(till.pos(api_key=ApiKey("k")), "getTableList").status == 200
