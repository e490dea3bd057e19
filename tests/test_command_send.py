"""`qerko_send`: one signed delivery of any event to any address, good or spoilt, and what came back."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.dispatch import Signal
from django.urls import reverse
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from django_qerko import signals
from django_qerko.answers import Bill, BillItem, Json, Table
from django_qerko.models import Restaurant, WebhookEvent
from django_qerko.sandbox.samples import EVENTS
from django_qerko.sandbox.signing import TAMPERINGS
from tests.commands import Terminal, running
from tests.deliveries import KEY, OTHER_KEY
from tests.points_of_sale import Received, Till, a_till
from tests.records import RECEIPT
from tests.servers import ROOT, serving

BILL = Bill(id="42", currency="CZK", items=[BillItem(id="1", name="Pivo", quantity=2, price="55.00")])

#: What has to be sent before an event can be answered with data.
BEFORE = {
    "paymentProcessed": ["paymentStart"],
    "paymentClosed": ["paymentStart", "paymentProcessed"],
    "getPostponedReceipt": ["paymentStart", "paymentProcessed"],
}
#: What each scheme alone can show.
SPOILT = [
    *((tamper, scheme) for tamper in TAMPERINGS for scheme in ("both", "rfc9421")),
    *((tamper, "hmac-sha256") for tamper in ("body", "signature", "key", "missing")),
]
#: Within the window, at its edges and beyond; a question is stale after 15 seconds, and news is not.
AGES = [
    (["getBill", "--age", "0"], "200 OK"),
    (["getBill", "--age", "5"], "200 OK"),
    (["getBill", "--age", "-3"], "200 OK"),
    (["getBill", "--age", "-60"], "410 Gone"),
    (["getBill", "--age", "20"], "410 Gone"),
    (["getBill", "--age", "70"], "410 Gone"),
    (["getBill", "--lifetime", "-2"], "410 Gone"),
    (["getBill", "--age", "600", "--lifetime", "3600"], "410 Gone"),
    (["paymentClosed", "--set", "state=CANCELLED", "--age", "20"], "200 OK"),
    (["paymentClosed", "--set", "state=CANCELLED", "--age", "70"], "410 Gone"),
]


def sent(*words: str, terminal: bool = False) -> tuple[int, str]:
    """The exit status of the command, and what it printed."""
    out = Terminal() if terminal else io.StringIO()
    try:
        call_command("qerko_send", *words, stdout=out)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


def complaint(*words: str) -> str:
    """Why nothing was sent."""
    with pytest.raises(CommandError) as refusal:
        call_command("qerko_send", *words)
    return str(refusal.value)


def under(title: str, shown: str) -> list[str]:
    """The lines under a title, without their indentation."""
    lines = shown.splitlines()
    begin = next(at for at, line in enumerate(lines, 1) if line.startswith(title))
    end = next((at for at in range(begin, len(lines)) if lines[at][:1].strip()), len(lines))
    return [line[2:] for line in lines[begin:end]]


# -- To our own webhook ----------------------------------------------------------------------------


@pytest.fixture
def pub(
    transactional_restaurant: Restaurant, live_server: LiveServer, answering: Callable[[Signal, Any], None]
) -> tuple[str, ...]:
    """Our own webhook over HTTP, behind it a pub that answers everything, and how to reach it."""
    answering(signals.table_list_requested, [Table(id="T1", name="Window")])
    answering(signals.table_contents_requested, [BILL])
    answering(signals.bill_requested, BILL)
    answering(signals.bills_searched, [BILL])
    answering(signals.payment_processed, RECEIPT)
    answering(signals.event_received, Json({"menus": []}))
    return ("--pos", live_server.url)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("event", EVENTS)
def test_every_event_is_answered(pub: tuple[str, ...], event: str) -> None:
    for earlier in BEFORE.get(event, ()):
        assert sent(earlier, *pub)[0] == 0

    status, shown = sent(event, *pub)

    assert status == 0, shown
    assert under("Response", shown)[0].startswith("200 OK after ")
    assert under("Judgement", shown) == ["✓ This is what the delivery deserves."]
    assert WebhookEvent.objects.latest("pk").name == event


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("tamper", "scheme"), SPOILT)
def test_every_tampering_gets_401(pub: tuple[str, ...], tamper: str, scheme: str) -> None:
    status, shown = sent("getBill", *pub, "--tamper", tamper, "--scheme", scheme)

    assert status == 0, shown
    assert f"Request, forged: {TAMPERINGS[tamper]}\n" in shown
    assert under("Response", shown)[0].startswith("401 Unauthorized after ")
    assert under("What would follow", shown)[0].startswith("Right: this was forged")
    assert not WebhookEvent.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("scheme", ["both", "rfc9421", "hmac-sha256"])
@pytest.mark.parametrize(("words", "response"), AGES)
def test_every_age_gets_its_status(pub: tuple[str, ...], words: list[str], response: str, scheme: str) -> None:
    status, shown = sent(*words, *pub, "--scheme", scheme)

    assert status == 0, shown
    assert under("Response", shown)[0].startswith(f"{response} after ")


@pytest.mark.django_db(transaction=True)
def test_a_refusal_is_what_a_delivery_may_deserve(pub: tuple[str, ...]) -> None:
    sent("paymentStart", *pub)
    sent("paymentClosed", *pub, "--set", "state=CANCELLED")

    status, shown = sent("paymentProcessed", *pub)

    assert status == 0
    assert '"code": "BAD_PARAMETER"' in shown
    assert under("What would follow", shown)[-1].startswith("The payment is cancelled")


@pytest.mark.django_db(transaction=True)
def test_the_same_event_is_delivered_again(pub: tuple[str, ...]) -> None:
    first, second = (sent("getBill", *pub, "--id", "once")[1] for _ in range(2))

    assert under("Response", first)[1:] == under("Response", second)[1:]
    assert WebhookEvent.objects.get().event_id == "once"


@pytest.mark.django_db(transaction=True)
def test_an_event_has_an_address_of_its_own(pub: tuple[str, ...]) -> None:
    status, shown = sent("getBill", *pub, "--url-per-event")

    assert status == 0
    assert under("Request", shown)[0].endswith("/getBill/")
    assert '"event"' not in shown


@pytest.mark.process
def test_a_shell_hears_401(transactional_restaurant: Restaurant, tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        words = ("getBill", "--tamper", "body", "--pos", server.origin)
        with running("qerko_send", *words) as (process, out, errors):
            shown, complaints = out.read(), errors.read()

    assert process.wait(30) == 0, complaints
    assert "\n  401 Unauthorized after " in shown
    assert '    "tampered": true\n' in shown
    assert KEY.reveal() not in shown + complaints


# -- To any address --------------------------------------------------------------------------------


@pytest.fixture
def till() -> Iterator[Till]:
    with a_till(getBill=BILL.as_json()) as till:
        yield till


def to(till: Till) -> tuple[str, ...]:
    return ("--url", till.url, "--api-key", KEY.reveal())


def received(till: Till) -> Received:
    """The one delivery, which was genuine."""
    (delivery,) = till.received
    assert delivery.hmac_holds
    return delivery


def test_the_whole_exchange_is_shown(till: Till) -> None:
    status, shown = sent("getBill", *to(till))

    request = under("Request", shown)
    assert status == 0
    assert request[0] == f"POST {till.url}"
    assert [line.split(": ")[0] for line in request[1:7]] == [
        *("Content-Type", "Content-Digest", "Signature-Input", "Signature", "Signature-SHA256", "User-Agent"),
    ]
    assert request[4] == f"Signature: {received(till).headers['Signature']}"
    assert request[7:9] == ["", "{"]
    assert '    "billId": "42",' in request
    response = under("Response", shown)
    assert response[1:4] == ["Content-Type: application/json", "", "{"]
    assert '      "name": "Pivo",' in response
    assert under("What would follow", shown) == [
        "The guest sees the bill and chooses what to pay and what to tip; then paymentStart follows."
    ]
    assert KEY.reveal() not in shown


def test_a_person_at_a_terminal_gets_the_same(till: Till) -> None:
    status, shown = sent("getBill", *to(till), "--force-color", terminal=True)

    assert status == 0
    assert "\x1b[36;1mWhat would follow\x1b[0m\n  The guest sees the bill" in shown


def test_what_will_be_replied_is_waited_for_elsewhere(till: Till) -> None:
    till.answers["paymentStart"] = (202, None)

    status, shown = sent("paymentStart", *to(till))

    assert status == 0
    assert under("What would follow", shown)[0].startswith("Qerko waits for /reply under the id of this event")
    assert under("What would follow", shown)[-1].endswith("here nobody takes it, qerko_sandbox does.")


@pytest.mark.parametrize(
    ("words", "answer", "judged"),
    [
        (["--tamper", "key"], {}, "✗ a forged delivery is answered 401, not 200 (protocol section 2)"),
        (["--age", "100"], {}, "✗ a delivery outside its time window is answered 410, not 200 (protocol section 2)"),
        ([], {}, "✗ id: Field required (protocol section 5)"),
        (
            [],
            (500, {"code": None, "message": ""}),
            "✗ A genuine delivery deserves an answer, and was answered 500.",
        ),
        (
            [],
            (401, {"code": None, "message": ""}),
            "✗ a genuine delivery in its time was turned away with 401: has it the same API key? (protocol section 2)",
        ),
    ],
)
def test_what_a_delivery_did_not_deserve_is_a_failure(till: Till, words: list[str], answer: Any, judged: str) -> None:
    till.answers["getBill"] = answer

    status, shown = sent("getBill", *to(till), *words)

    assert status == 1
    assert judged in under("Judgement", shown)


def test_silence_is_a_failure() -> None:
    status, shown = sent("getBill", "--url", "http://127.0.0.1:1/", "--api-key", KEY.reveal())

    assert status == 1
    assert under("Response", shown)[0].startswith("None after ")
    assert under("Response", shown)[0].endswith(" ms: connection refused")
    assert "✗ Qerko got no answer: connection refused (protocol section 3)" in under("Judgement", shown)


def test_a_strangers_words_command_no_terminal_and_tell_no_key(till: Till) -> None:
    till.answers["getBill"] = (422, {"code": "\x1b[2J", "message": KEY.reveal()})

    status, shown = sent("getBill", *to(till))

    assert status == 1
    assert "\x1b" not in shown
    assert KEY.reveal() not in shown
    assert '"message": "…e4e1"' in shown
    assert "✗ getBill has no error code \\x1b[2J (protocol section 4)" in shown


def test_a_body_may_be_missing(till: Till) -> None:
    till.answers["getBill"] = b""

    assert under("Response", sent("getBill", *to(till))[1])[-1] == "(no body)"


def test_a_program_reads_one_object(till: Till) -> None:
    till.answers["getBill"] = (422, {"code": "BILL_CLOSED", "message": KEY.reveal()})

    status, shown = sent("getBill", *to(till), "--json", "--id", "e")

    said = json.loads(shown)
    assert status == 0
    assert (said["event"], said["event_id"], said["status"], said["expected"]) == ("getBill", "e", 422, 200)
    assert said["is_deserved"] is True
    assert said["findings"] == []
    assert said["following"] == ["The guest sees no bill, and no payment begins."]
    assert said["request"]["headers"]["Signature"] == received(till).headers["Signature"]
    assert KEY.reveal() not in shown


# -- What is sent ----------------------------------------------------------------------------------


def test_an_unknown_event_comes_with_nothing(till: Till) -> None:
    assert sent("getWeather", *to(till))[0] == 0

    assert received(till).document["data"] is None
    assert received(till).document["event"] == "getWeather"


@pytest.mark.parametrize(
    ("event", "meant"),
    [
        *(("getbil", "getBill"), ("GETBILL", "getBill"), ("searchBill", "searchBills"), ("getTables", "getTableList")),
        *((event, None) for event in EVENTS),
        *(("getWeather", None), ("refundStart", None), ("paymentRefund", None)),
    ],
)
def test_an_event_whose_name_is_close_to_a_known_one_is_sent_and_asked_about(
    till: Till, event: str, meant: str | None
) -> None:
    errors = io.StringIO()

    with suppress(SystemExit):
        call_command("qerko_send", event, *to(till), stdout=io.StringIO(), stderr=errors)

    assert received(till).document["event"] == event
    assert errors.getvalue() == (f"{event} is no event of Qerko's; did you mean {meant}?\n" if meant else "")


def test_a_file_leaves_digit_for_digit(till: Till, tmp_path: Path) -> None:
    text = '{"price":  5.50, "long": 12345678901234567.890, "large": 1E+400, "name": "Káva \\ud83c"}\n'
    file = tmp_path / "data.json"
    file.write_text(text)

    assert sent("getWeather", *to(till), "--data", str(file))[0] == 0
    assert text.strip() in received(till).body.decode()


def test_standard_input_holds_the_key_and_then_the_data(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f'{KEY.reveal()}\n{{\n  "billId": "7"\n}}\n'))

    assert sent("getBill", "--data", "-", "--url", till.url, "--api-key", "-")[0] == 0
    assert received(till).document["data"] == {"billId": "7"}


@pytest.mark.parametrize(
    ("event", "words", "data"),
    [
        ("getBill", ["billId=7"], {"billId": "7", "customerId": None}),
        ("getBill", ["customerId=a=b", "x="], {"billId": "42", "customerId": "a=b", "x": ""}),
        ("getWeather", ["place.name=Praha", "place.country=CZ"], {"place": {"name": "Praha", "country": "CZ"}}),
    ],
)
def test_a_text_of_the_sample_is_changed(till: Till, event: str, words: list[str], data: Any) -> None:
    assert sent(event, *to(till), *(part for word in words for part in ("--set", word)))[0] == 0

    assert received(till).document["data"] == data


def test_a_member_of_the_payment_is_changed_and_the_next_sample_is_as_before(till: Till) -> None:
    sent("paymentStart", *to(till), "--set", "payment.idBill=7")
    sent("paymentStart", *to(till))

    first, second = (delivery.document["data"]["payment"] for delivery in till.received)
    assert (first["idBill"], second["idBill"]) == ("7", "42")
    assert {**first, "idBill": "42"} == second


def test_another_machine_is_called_because_its_address_was_typed(till: Till) -> None:
    elsewhere = f"http://0.0.0.0:{till.port}/hook"  # which is no loopback address, and leads there

    assert sent("getBill", "--url", elsewhere, "--api-key", KEY.reveal())[0] == 0
    assert received(till).headers["Host"] == f"0.0.0.0:{till.port}"


# -- Whom it calls ---------------------------------------------------------------------------------


@pytest.fixture
def two(restaurant: Restaurant) -> Restaurant:
    """A second restaurant in the project, which has its own key."""
    return Restaurant.objects.add(name="U Kocoura", api_key=OTHER_KEY)


def test_the_newest_key_of_the_only_restaurant_signs(till: Till, restaurant: Restaurant) -> None:
    restaurant.forget_old_keys()
    restaurant.keys.all().delete()
    restaurant.add_key(OTHER_KEY)
    restaurant.add_key(KEY)

    assert sent("getBill", "--pos", f"http://127.0.0.1:{till.port}/")[0] == 0
    assert received(till).path == reverse("qerko:webhook", args=[restaurant.webhook_token])


def test_its_key_signs_for_another_address_too(till: Till, restaurant: Restaurant) -> None:
    assert sent("getBill", "--url", till.url)[0] == 0

    assert received(till).path == "/hook"


def test_another_key_signs_for_its_address(till: Till, restaurant: Restaurant) -> None:
    sent("getBill", "--pos", f"http://127.0.0.1:{till.port}", "--api-key", OTHER_KEY.reveal())

    assert not till.received[0].hmac_holds
    assert str(restaurant.webhook_token) in till.received[0].path


def test_one_of_several_is_named(till: Till, two: Restaurant) -> None:
    sent("getBill", "--pos", f"http://127.0.0.1:{till.port}", "--restaurant", "U Kocoura")

    assert str(two.webhook_token) in till.received[0].path


def test_one_of_several_must_be_named(two: Restaurant) -> None:
    assert complaint("getBill") == (
        "There are several restaurants: U Kocoura, U Zlatého tygra. Say which with --restaurant."
    )


def test_one_that_is_named_must_have_a_key(restaurant: Restaurant) -> None:
    Restaurant.objects.create(name="Not open yet")

    assert complaint("getBill", "--restaurant", "Not open yet") == (
        "No restaurant of that name has a key; there are: U Zlatého tygra."
    )


@pytest.mark.django_db
def test_no_restaurant_has_a_key() -> None:
    Restaurant.objects.create(name="Not open yet")

    assert complaint("getBill").startswith("No restaurant has a key: add one (qerko_restaurant add)")


def test_the_webhook_has_no_address(restaurant: Restaurant, settings: Settings) -> None:
    settings.ROOT_URLCONF = "tests.urls_without_webhook"

    assert complaint("getBill") == "The webhook has no address: include django_qerko.urls in your URLconf."


# -- What is called wrongly ------------------------------------------------------------------------

NAMED = ("--url", "http://127.0.0.1:1/", "--api-key", KEY.reveal())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--tamper", "soul"), "invalid choice: 'soul'"),
        (("--scheme", "md5"), "invalid choice: 'md5'"),
        (("--tamper", "label", "--scheme", "hmac-sha256"), "The tampering 'label' needs the scheme rfc9421."),
        (("--age", "old"), "not a number of seconds"),
        (("--age", "nan"), "not a number of seconds"),
        (("--age", "1e10"), "not a number of seconds"),
        (("--timeout", "0"), "not a number of seconds above zero, and an hour at most"),
        (("--timeout", "3601"), "not a number of seconds above zero, and an hour at most"),
        (("--url", "nowhere"), "'nowhere' is no absolute http or https URL."),
        (("--api-key", "two words"), "An API key is 1 to 128 printable ASCII characters"),
        (("--set", "billId"), "not of the form member=value"),
        (("--set", "=7"), "not of the form member=value"),
        (("--set", "billId.x=7"), "billId.x is not in the sample data: billId has no members."),
        (("--set", "billId=7", "--data", "x"), "not allowed with argument --set"),
        (("--data", "no/such\x1b/file"), r"no/such\x1b/file cannot be read: No such file or directory."),
        (("--id", "half of one: \ud800"), "surrogates not allowed"),
    ],
)
def test_a_wrong_call_is_explained(words: tuple[str, ...], said: str) -> None:
    complained = complaint("getBill", *NAMED, *words)

    assert said in complained
    assert "two words" not in complained
    assert KEY.reveal() not in complained


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "holds no JSON: Expecting value: line 1 column 1 (char 0)."),
        (b'{"a": 1,\n  b}', "holds no JSON: Expecting property name enclosed in double quotes: line 2 column 3"),
        (b"[NaN]", "holds no JSON: NaN is no JSON."),
        (b'"\xff"', "holds no JSON: 'utf-8' codec can't decode byte 0xff in position 1"),
    ],
)
def test_what_is_no_json_is_said_with_its_place(tmp_path: Path, data: bytes, said: str) -> None:
    file = tmp_path / "data.json"
    file.write_bytes(data)

    assert f"{file} {said}" in complaint("getBill", *NAMED, "--data", str(file))


def test_standard_input_that_is_no_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("nothing"))

    assert complaint("getBill", *NAMED, "--data", "-").startswith("Standard input holds no JSON: ")


# -- As a process ----------------------------------------------------------------------------------


@pytest.mark.process
def test_it_needs_no_database_and_no_setting(till: Till, tmp_path: Path) -> None:
    (tmp_path / "bare.py").write_text(
        'SECRET_KEY = "x"\nINSTALLED_APPS = ["rest_framework", "django_qerko"]\n'
        f'DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": "{tmp_path}/never.sqlite3"}}}}\n'
    )
    command = [sys.executable, "-m", "django", "qerko_send", "getBill"]
    how: dict[str, Any] = {
        "cwd": ROOT,
        "env": os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}", "DJANGO_SETTINGS_MODULE": "bare"},
        "input": f"{KEY.reveal()}\n",
        "capture_output": True,
        "text": True,
    }

    good = subprocess.run([*command, "--url", till.url, "--api-key", "-"], check=False, **how)
    assert (good.returncode, good.stderr) == (0, "")
    assert not (tmp_path / "never.sqlite3").exists()

    wrong = subprocess.run(command, check=False, **how)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "CommandError: The tables of django_qerko are missing: python manage.py migrate makes them." in wrong.stderr


@pytest.mark.process
@pytest.mark.django_db(transaction=True)
def test_whoever_waits_is_told_so_and_may_give_up() -> None:
    over = threading.Event()

    def say_nothing(_: Any) -> None:
        over.wait(60)

    with a_till(misbehave=say_nothing) as till:
        with running("qerko_send", "getBill", *to(till)) as (process, _, errors):
            assert "No answer yet; it may take 15 seconds. Ctrl-C gives up.\n" in iter(errors.readline, "")
            process.send_signal(signal.SIGINT)
            assert errors.read().endswith("CommandError: Given up before an answer came.\n")
            assert process.wait(30) == 1
        over.set()
