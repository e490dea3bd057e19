"""The guest's pages and Qerko's API, over HTTP, against a stranger's till; no setting of a project reaches them."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from django.conf import LazySettings

from django_qerko.sandbox.qerko import Exchange, PointOfSale, Qerko
from django_qerko.sandbox.server import SandboxServer
from tests.deliveries import KEY, OTHER_KEY
from tests.points_of_sale import POS_ID, Till, a_till, later_error

BILL = {
    "id": "a/b?c",
    "currency": "CZK",
    "discountOffer": {"name": "Happy hour", "percent": "10.50"},
    "items": [
        {"id": "1", "name": "<b>Pivo</b>", "quantity": "2.000", "price": "55.00"},
        {"id": "2", "name": "Sýr", "quantity": "0.5", "price": "333.33"},
        {"id": "3", "name": "Sleva", "quantity": "1", "price": "-10"},
    ],
}


@pytest.fixture
def till() -> Iterator[Till]:
    tables = [{"id": "T 1/2", "name": "Window & door", "area": "Garden"}, {"id": "T2", "name": "Corner"}]
    with a_till(getTableList=tables, getTableContents=[BILL], getBill=BILL, searchBills=[BILL]) as till:
        yield till


@pytest.fixture
def server(till: Till) -> Iterator[SandboxServer]:
    with Qerko(deadline=0.4) as qerko, SandboxServer(qerko, [till.pos()]) as server:
        till.api_url = server.api_url
        yield server
        for replying in till.threads:
            replying.join()


def get(server: SandboxServer, path: str = "", **headers: str) -> requests.Response:
    return requests.get(f"{server.url}{path}", headers=headers, timeout=20)


def words(response: requests.Response) -> str:
    """What is read on the guest's phone, without the conversation beside it and what is hidden."""
    phone = response.text.partition("<main")[2].partition("</main>")[0]
    phone = re.sub(r"<(\w+)[^>]* hidden>.*?</\1>", "", phone, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", phone.partition(">")[2]).split())


# -- Pages ----------------------------------------------------------------------------------------


def test_one_restaurant_opens_at_once(server: SandboxServer) -> None:
    response = get(server)

    assert response.url == f"{server.url}1/"
    assert "Window &amp; door Garden" in words(response)
    assert 'href="/1/tables/T%201/2/"' in response.text
    assert "Restaurants" not in words(response)


def test_several_restaurants_are_offered(till: Till) -> None:
    with Qerko() as qerko, SandboxServer(qerko, [till.pos(), till.pos(name="<Zlatý tygr>")]) as server:
        front, second = get(server), get(server, "2/")

    assert words(front) == "Restaurants U Kocoura › &lt;Zlatý tygr&gt; ›"
    assert words(second).startswith("Restaurants &lt;Zlatý tygr&gt; Tables")


def test_no_restaurant_is_said(till: Till) -> None:
    with Qerko() as qerko, SandboxServer(qerko, []) as server:
        assert "No restaurant is known here." in words(get(server))


def test_a_table_shows_its_bills(server: SandboxServer, till: Till) -> None:
    response = get(server, "1/tables/T%201/2/")

    assert till.received[-1].document["data"] == {"tableId": "T 1/2", "customerId": None}
    assert words(response) == "U Kocoura Table T 1/2 Bill a/b?c 266.66 CZK"
    assert 'href="/1/bills/a/b%3Fc/"' in response.text


def test_a_table_without_a_bill(server: SandboxServer, till: Till) -> None:
    till.answers["getTableContents"] = []

    assert words(get(server, "1/tables/T2/")).endswith("There is no open bill.")


def test_a_restaurant_without_a_table(server: SandboxServer, till: Till) -> None:
    till.answers["getTableList"] = []

    assert "This restaurant has no tables." in words(get(server, "1/"))


def test_a_bill_is_printed(server: SandboxServer, till: Till) -> None:
    response = get(server, "1/bills/a/b%3Fc/")

    assert till.received[-1].document["data"] == {"billId": "a/b?c", "customerId": None}
    assert words(response) == (
        "U Kocoura Bill a/b?c What is still to be paid 266.66 CZK What do you pay? "
        "&lt;b&gt;Pivo&lt;/b&gt; 55.00 each 110.00 of 2 Sýr 333.33 each 166.66 of 0.5 Sleva −10.00 each −10.00 of 1 "
        "Discount Happy hour, 10.5 % off Tip None 5 % 10 % 15 % Other Your tip in CZK "
        "Pay You see the sum before any money moves."
    )


def test_a_paid_bill_is_empty(server: SandboxServer, till: Till) -> None:
    till.answers["getBill"] = {"id": "42", "name": "Evening", "currency": "EUR", "items": []}

    assert words(get(server, "1/bills/42/")).endswith(
        "Evening What is still to be paid 0.00 EUR Nothing is left to be paid."
    )


def test_a_code_is_scanned(server: SandboxServer, till: Till) -> None:
    response = get(server, "1/search/?code=table%20%C5%BE")

    assert till.received[-1].document["data"] == {"qrIdentifier": "table ž", "customerId": None}
    assert words(response).startswith("U Kocoura Code table ž Bill a/b?c")


def test_half_a_surrogate_pair_is_shown_as_well_as_may_be(server: SandboxServer, till: Till) -> None:
    till.answers["getTableList"] = [{"id": "\ud800", "name": "half \ud800 table"}]

    assert "half a surrogate pair" in words(get(server, "1/"))
    assert get(server, "").status_code == 200


def test_an_id_may_hold_a_line_break(server: SandboxServer, till: Till) -> None:
    till.answers["getTableList"] = [{"id": "a\nb", "name": "two lines"}]
    till.answers["getTableContents"] = []

    assert "two lines" in words(get(server, "1/"))
    assert get(server, "1/tables/a%0Ab/").status_code == 200
    assert get(server, "1/bills/?id=a%0Ab").url.endswith("1/bills/a%0Ab/")


@pytest.mark.parametrize(("typed", "leads_to"), [("7%2F8%20", "1/bills/7/8/"), ("", "1/")])
def test_a_bill_is_found_by_its_number(server: SandboxServer, typed: str, leads_to: str) -> None:
    assert get(server, f"1/bills/?id={typed}").url == f"{server.url}{leads_to}"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            (422, {"code": "BILL_NOT_FOUND", "message": "No <such> bill."}),
            "The restaurant does not know this bill. The restaurant said: BILL_NOT_FOUND: No &lt;such&gt; bill.",
        ),
        ((422, {"code": "SOLD_OUT", "message": "No."}), "The restaurant refuses. The restaurant said: SOLD_OUT: No."),
        ((500, {"code": None, "message": "It broke."}), "Something broke at the restaurant. The restaurant said: It"),
        ((500, "oops"), "The restaurant said: HTTP 500 The point of sale broke. If it is django_qerko: qerko_show "),
        ((599, "oops"), "The restaurant said: HTTP 599"),
        (
            (404, {"code": "NOT_FOUND", "message": "No."}),
            (
                "There is no restaurant at this address. The restaurant said: NOT_FOUND: No. "
                "Nobody is at this address: is the webhook’s address right, and does it belong to this key?"
            ),
        ),
        ((401, {"code": "UNAUTHORIZED", "message": "No."}), "The restaurant takes Qerko for a stranger."),
        ((410, {"code": None, "message": "No."}), "For the restaurant, the question came at a wrong time."),
        ((400, {"code": None, "message": "No."}), "The restaurant did not understand Qerko."),
        (later_error("BILL_CLOSED", "Paid."), "nothing is left to pay. The restaurant said: BILL_CLOSED: Paid."),
        (later_error(None, "Ouch."), "The restaurant refuses. The restaurant said: Ouch. An error without a code: "),
        ((202, None), "The restaurant noted the question, and gave no answer in time. Does its worker run"),
        (b"[]", "the answer to getBill is Bill, not a list (protocol section 5)"),
        (b"<html>", "the body is not JSON"),
    ],
)
def test_what_the_point_of_sale_does_wrong_is_shown(server: SandboxServer, till: Till, said: Any, shown: str) -> None:
    till.answers["getBill"] = said

    response = get(server, "1/bills/42/")

    assert response.status_code == 200
    assert shown in words(response)


def test_silence_is_shown() -> None:
    with Qerko() as qerko, SandboxServer(qerko, [PointOfSale(url="http://127.0.0.1:1/", api_key=KEY)]) as server:
        said = words(get(server, "1/"))

    assert "The restaurant does not answer. The restaurant said: connection refused" in said
    assert "Does the point of sale run, and is http://127.0.0.1:1/ its address?" in said
    assert "No table is known." in said


@pytest.mark.parametrize("path", ["2/", "0/", "1", "nowhere/", "1/bills/%FF%00"])
def test_nothing_is_there(server: SandboxServer, path: str) -> None:
    response = get(server, path)

    assert response.status_code == 404
    assert "There is nothing at this address." in words(response)


def test_a_page_only_shows(server: SandboxServer, till: Till) -> None:
    for path in ("1/", "1/bills/42/", "conversation/"):
        assert requests.post(f"{server.url}{path}", timeout=20).status_code == 405
    for path in ("1/pay/42/", "language/"):
        assert get(server, path).status_code == 405
    assert not till.received


def test_a_page_runs_its_own_script_alone_and_is_not_kept(server: SandboxServer) -> None:
    response = get(server, "1/")

    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert response.headers["Content-Security-Policy"] == (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    assert response.headers["Cache-Control"] == "no-store"
    assert re.findall(r"<script.*?>.*?</script>", response.text) == ['<script src="/script.js" defer></script>']
    assert not re.search(r" (style|on\w+)=", response.text)


def test_the_script_is_served(server: SandboxServer) -> None:
    response = get(server, "script.js")

    assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert '"use strict"' in response.text


def test_the_style_knows_light_and_dark(server: SandboxServer) -> None:
    response = get(server, "style.css")

    assert response.headers["Content-Type"] == "text/css; charset=utf-8"
    assert "prefers-color-scheme: dark" in response.text


# -- The conversation -----------------------------------------------------------------------------


def test_the_conversation_stands_beside_the_page(server: SandboxServer, till: Till) -> None:
    till.answers["getBill"] = b'{"id": 42, "items": [], "currency": "CZK", "percent": 1.50}'
    get(server, "1/")

    aside = get(server, "1/bills/42/").text.partition("<aside")[2]

    assert aside.index("getBill") < aside.index("getTableList")
    assert "id: Input should be a valid string (protocol section 5)" in aside
    assert "percent&quot;: 1.50\n}" in aside
    assert "Signature-Input: qerko=(" in aside


def test_before_the_first_word_there_is_none(till: Till) -> None:
    with Qerko() as qerko, SandboxServer(qerko, [till.pos()] * 2) as server:
        assert "Nothing was said yet." in get(server).text


def test_the_conversation_as_json(server: SandboxServer, till: Till) -> None:
    till.answers["getBill"] = (422, {"code": "BILL_CLOSED", "message": "Paid."})
    get(server, "1/bills/42/")

    (said,) = get(server, "conversation.json").json()["exchanges"]

    assert said["number"] == 1
    assert (said["restaurant"], said["event"], said["status"]) == ("U Kocoura", "getBill", 422)
    assert json.loads(said["request"]["body"])["data"] == {"billId": "42", "customerId": None}
    assert json.loads(said["response"]["body"])["code"] == "BILL_CLOSED"
    assert said["findings"] == []


def test_no_key_is_seen_even_where_the_point_of_sale_repeats_it(
    server: SandboxServer, till: Till, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="")
    till.answers["getBill"] = (422, {"code": KEY.reveal(), "message": f"Your key is {KEY.reveal()}."})

    page = get(server, "1/bills/42/")

    assert "Your key is …e4e1." in words(page)
    assert KEY.reveal() not in page.text + get(server, "conversation.json").text + caplog.text


# -- Qerko's API ----------------------------------------------------------------------------------


def who_am_i(server: SandboxServer, **headers: str) -> requests.Response:
    return requests.post(f"{server.api_url}/who-am-i", headers=headers, timeout=20)


def test_a_restaurant_is_known_by_its_key(till: Till) -> None:
    known = [till.pos(name="A"), till.pos(name="B", api_key=OTHER_KEY), till.pos(name="C")]
    with Qerko() as qerko, SandboxServer(qerko, known) as server:
        response = who_am_i(server, **{"Authorization": f"Bearer {KEY.reveal()}", "Pos-Id": POS_ID.upper()})

    assert response.status_code == 200
    assert response.json() == [{"id": "1", "name": "A"}, {"id": "3", "name": "C"}]


@pytest.mark.parametrize(
    "headers",
    [
        {"Pos-Id": POS_ID},
        {"Authorization": f"Bearer {OTHER_KEY.reveal()}", "Pos-Id": POS_ID},
        {"Authorization": f"Basic {KEY.reveal()}", "Pos-Id": POS_ID},
        {"Authorization": f"Bearer {KEY.reveal()}"},
        {"Authorization": f"Bearer {KEY.reveal()}", "Pos-Id": "1234"},
        {"Authorization": f"Bearer {KEY.reveal()}", "Pos-Id": f"{{{POS_ID}}}"},
    ],
)
def test_a_stranger_is_not_known(server: SandboxServer, headers: dict[str, str]) -> None:
    response = who_am_i(server, **headers)

    assert response.status_code == 401
    assert response.json()["code"] == "UNAUTHORIZED"


def test_who_am_i_is_asked_with_post(server: SandboxServer) -> None:
    response = requests.get(f"{server.api_url}/who-am-i", timeout=20)

    assert (response.status_code, response.json()["code"]) == (405, "NO_SUCH_METHOD")


def test_the_api_says_in_json_what_it_does_not_know(server: SandboxServer) -> None:
    response = requests.post(f"{server.api_url}/nothing", timeout=20)

    assert response.status_code == 404
    assert response.json() == {"code": "NOT_FOUND", "message": "There is nothing at this address."}


# -- Who may come in ------------------------------------------------------------------------------


def knock(server: SandboxServer, method: str, path: str, headers: dict[str, str]) -> int:
    """The status that a request with exactly these headers gets."""
    port = int(server.url.rsplit(":", 1)[1].strip("/"))
    wire = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    wire.putrequest(method, path, skip_host=True)
    for name, value in headers.items():
        wire.putheader(name, value)
    wire.endheaders()
    status = wire.getresponse().status
    wire.close()
    return status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8765", 200),
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("127.9.9.9", 200),
        ("[::1]:8765", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("evil.example:8765@127.0.0.1", 403),
        ("127.0.0.1@evil.example", 403),
        ("192.168.1.1", 403),
        ("[::1", 403),
        ("", 403),
    ],
)
def test_only_this_machines_names_are_answered(server: SandboxServer, host: str, status: int) -> None:
    assert knock(server, "GET", "/style.css", {"Host": host}) == status


def test_a_request_without_a_host_is_not_answered(server: SandboxServer) -> None:
    assert knock(server, "GET", "/style.css", {}) == 403


def test_any_name_is_answered_where_others_are_allowed(till: Till) -> None:
    with Qerko() as qerko, SandboxServer(qerko, [till.pos()], allow_remote=True) as server:
        assert knock(server, "GET", "/style.css", {"Host": "my-laptop"}) == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}, 401),
        ({"Sec-Fetch-Site": "none"}, 401),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_another_page_changes_nothing(server: SandboxServer, headers: dict[str, str], status: int) -> None:
    assert knock(server, "POST", "/api/v4/pos/who-am-i", {"Host": "localhost", **headers}) == status


def test_a_server_stays_on_this_machine(till: Till) -> None:
    with Qerko() as qerko, pytest.raises(ValueError, match=r"0\.0\.0\.0 is not this machine alone"):
        SandboxServer(qerko, [till.pos()], host="0.0.0.0")


def test_a_server_knows_only_whom_it_may_call(till: Till) -> None:
    with Qerko() as qerko, pytest.raises(ValueError, match=r"example\.com is not this machine"):
        SandboxServer(qerko, [till.pos(url="http://example.com/")])


# -- A server in somebody's project ---------------------------------------------------------------


def test_no_setting_of_the_project_is_asked(server: SandboxServer, settings: LazySettings) -> None:
    settings.ALLOWED_HOSTS = []
    settings.DEBUG = True
    settings.DEFAULT_CHARSET = "utf-16"
    settings.FORCE_SCRIPT_NAME = "/elsewhere"
    settings.LANGUAGE_CODE = "cs"
    settings.MIDDLEWARE = ["no.such.Middleware"]
    settings.ROOT_URLCONF = "no.such.urls"
    settings.SECURE_SSL_REDIRECT = True
    settings.TEMPLATES = []
    settings.USE_THOUSAND_SEPARATOR = True
    settings.USE_TZ = False

    bill, missing = get(server, "1/bills/a/b%3Fc/"), get(server, "nowhere/")

    assert "What is still to be paid 266.66 CZK" in words(bill)
    assert 'href="/1/"' in bill.text
    assert "There is nothing at this address." in words(missing)


def test_a_broken_page_says_so_and_shows_nothing(
    till: Till, settings: LazySettings, caplog: pytest.LogCaptureFixture
) -> None:
    def break_(_: Exchange) -> None:
        raise RuntimeError("the printer is out of paper")

    settings.DEBUG = True
    with Qerko(on_exchange=break_) as qerko, SandboxServer(qerko, [till.pos()]) as server:
        response = get(server, "1/")

    assert response.status_code == 500
    assert "The sandbox itself broke" in words(response)
    assert "out of paper" not in response.text
    assert "out of paper" in caplog.text


def test_a_connection_that_is_kept_open_does_not_keep_the_server(till: Till) -> None:
    with Qerko() as qerko, requests.Session() as browser:
        with SandboxServer(qerko, [till.pos()]) as server:
            browser.get(server.url, timeout=20)
            port = int(server.url.rsplit(":", 1)[1].strip("/"))
            idle = socket.create_connection(("127.0.0.1", port), timeout=20)
            browser.get(server.url, timeout=20)

        with idle:
            assert idle.recv(1) == b""
        with pytest.raises(requests.ConnectionError):
            browser.get(server.url, timeout=20)


def test_ipv6_is_written_in_brackets(till: Till) -> None:
    with Qerko() as qerko, SandboxServer(qerko, [till.pos()], host="::1") as server:
        assert server.url.startswith("http://[::1]:")
        assert get(server, "style.css").status_code == 200
