"""A guest pays on the sandbox's phone, over HTTP and without a script, against a stranger's till."""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
import requests
from django.conf import LazySettings

from django_qerko.answers import Bill
from django_qerko.sandbox import visits
from django_qerko.sandbox.choosing import Choice, NotPossible
from django_qerko.sandbox.moments import Ending, Phase
from django_qerko.sandbox.phrases import LANGUAGES, PHRASES
from django_qerko.sandbox.qerko import Exchange, PointOfSale, Qerko
from django_qerko.sandbox.server import SandboxServer
from django_qerko.sandbox.speaking import Language
from django_qerko.sandbox.visits import Visits
from tests.deliveries import KEY, OTHER_KEY
from tests.points_of_sale import Later, Till, a_till, later, later_error
from tests.workers import until

BILL: dict[str, Any] = {
    "id": "4/2",
    "name": "Evening",
    "currency": "CZK",
    "items": [
        {"id": "beer\n", "name": "Pivo", "quantity": "4", "price": "55.00"},
        {"id": "2", "name": "Guláš", "quantity": "1.5", "price": "200.00", "minQuantity": "0.5"},
    ],
}
OFFER = {"discountOffer": {"name": "Regulars", "percent": "10"}}
RECEIPT: dict[str, Any] = {
    "receiptInfo": {
        "serial": "2026-7",
        "cashBox": "1",
        "waiter": "Jan",
        "headerLines": ["U Kocoura", "Praha"],
        "footerLines": ["Děkujeme."],
        "timestamp": "2026-11-24T21:05:00+01:00",
    },
    "items": [{"name": "Pivo", "price": "55.00", "taxName": "A", "quantity": "4"}],
    "taxInfo": [{"name": "DPH 21 %", "rate": "21", "base": "181.82", "tax": "38.18"}],
    "fiscalInfo": {"fik": "b3a0"},
    "finalPrice": "219.50",
}
POSTPONED = RECEIPT | {"receiptDeliveryType": "POSTPONED"}
REFUSED = (422, {"code": "BAD_PARAMETER", "message": "Sold <out>."})
BEER = "q-beer%0A"


class Phone(requests.Session):
    """A browser without a script: it follows redirects, and may refresh the page."""

    def __init__(self, server: SandboxServer, till: Till) -> None:
        super().__init__()
        self.url = server.url
        self.till = till
        self.page = requests.Response()

    def opens(self, path: str = "1/bills/4/2/", **headers: str) -> Phone:
        self.page = self.get(f"{self.url}{path}", headers=headers, timeout=20)
        return self

    def sends(self, path: str, **fields: str) -> Phone:
        """As a browser sends a form: with the address of its page."""
        origin = {"Origin": self.url.rstrip("/"), "Sec-Fetch-Site": "same-origin"}
        self.page = self.post(f"{self.url}{path}", data=fields, headers=origin, timeout=20)
        return self

    def pays(self, **fields: str) -> Phone:
        """What the bill's form sends; the page is the payment's."""
        return self.sends("1/pay/4/2/", payment=str(uuid.uuid4()), **fields)

    def decides(self, decision: str) -> Phone:
        self.waits_for('value="confirm"')
        return self.sends(f"{self.payment_path}decide/", decision=decision)

    def waits_for(self, words: str) -> Phone:
        """Refresh the page until these words are on it, or in it, as it asks to be."""
        end = time.monotonic() + 20
        while words not in self.words and words not in self.page.text:
            assert time.monotonic() < end, self.words
            time.sleep(0.02)
            self.opens(self.payment_path)
        return self

    def waits_for_the_end(self) -> Phone:
        return self.waits_for("To the tables")

    @property
    def payment_path(self) -> str:
        found = re.match(r".*?(1/payments/[-0-9a-f]{36}/)", self.page.url)
        assert found, self.page.url
        return found[1]

    @property
    def words(self) -> str:
        phone = self.page.text.partition("<main")[2].partition("</main>")[0]
        return " ".join(re.sub(r"<[^>]+>", " ", phone.partition(">")[2]).split())

    @property
    def told(self) -> list[str]:
        """The events that the till received, a payment's end with its state."""
        documents = [received.document for received in self.till.received]
        return [" ".join([said["event"], *filter(None, [said["data"].get("state")])]) for said in documents]

    @property
    def payment(self) -> dict[str, Any]:
        """The payment as the till heard of it."""
        documents = [received.document for received in self.till.received]
        (payment,) = [said["data"]["payment"] for said in documents if said["event"] == "paymentStart"]
        return dict(payment)


@contextmanager
def a_phone(*others: PointOfSale, deadline: float = 20, **answers: Any) -> Iterator[Phone]:
    with (
        a_till(**{"getBill": BILL, "paymentProcessed": RECEIPT} | answers) as till,
        Qerko(deadline=deadline) as qerko,
        SandboxServer(qerko, [till.pos(), *others]) as server,
        Phone(server, till) as phone,
    ):
        till.api_url = server.api_url
        try:
            yield phone
        finally:
            for replying in till.threads:
                replying.join()


@pytest.fixture
def phone() -> Iterator[Phone]:
    with a_phone() as phone:
        yield phone


# -- The whole way --------------------------------------------------------------------------------


def test_a_bill_is_paid(phone: Phone) -> None:
    phone.pays()

    assert phone.page.history[0].status_code == 303
    phone.waits_for("Confirm the payment")
    assert "The restaurant holds these items for you." in phone.words
    assert "4 × Pivo 220.00 1.5 × Guláš 300.00 Total 520.00 CZK" in phone.words
    phone.decides("confirm").waits_for_the_end()

    assert phone.told == ["getBill", "paymentStart", "paymentProcessed", "paymentClosed PAID"]
    assert "✓ Paid Total 520.00 CZK" in phone.words
    assert "U Kocoura Praha Number 2026-7 Issued 2026-11-24 21:05 Cash desk 1 Served by Jan" in phone.words
    assert "4 × Pivo 220.00 Total 220.00 CZK The restaurant asks less 219.50 CZK" in phone.words
    assert (
        "VAT Base Tax DPH 21 % 181.82 38.18 Fiscal data { &quot;fik&quot;: &quot;b3a0&quot; } Děkujeme." in phone.words
    )
    assert 'href="/1/bills/4/2/"' in phone.page.text
    assert 'http-equiv="refresh"' not in phone.page.text


def test_a_bill_is_paid_with_replies(phone: Phone) -> None:
    phone.till.answers |= {
        "getBill": later(BILL),
        "paymentStart": later(),
        "paymentProcessed": later(RECEIPT),
        "paymentClosed": later(),
    }

    phone.opens()
    assert "Evening What is still to be paid 520.00 CZK" in phone.words
    phone.pays().decides("confirm").waits_for_the_end()

    assert "✓ Paid" in phone.words
    assert "protocol is violated" not in phone.words


def test_a_part_is_paid_with_a_tip_and_the_discount(phone: Phone) -> None:
    phone.till.answers["getBill"] = BILL | OFFER

    phone.pays(**{BEER: "2", "q-2": " 0,5 ", "tip": "10", "discount": "yes"})
    phone.waits_for("Confirm the payment")

    items = {item["id"]: item["quantity"] for item in phone.payment["items"]}
    assert items == {"beer\n": "2", "2": "0.5"}
    assert (phone.payment["discount"]["value"], phone.payment["tipBrutto"]) == ("21.00", "18.90")
    assert "Discount: Regulars −21.00 Tip 18.90 Total 207.90 CZK" in phone.words
    phone.decides("confirm").waits_for_the_end()
    assert "Total · Tip 18.90 · Discount −21.00 207.90 CZK" in phone.words


def test_an_offer_may_be_left(phone: Phone) -> None:
    phone.till.answers["getBill"] = BILL | OFFER

    assert 'name="discount" value="yes" checked' in phone.opens().page.text
    phone.pays(tip="own", own_tip="1 000,5").waits_for("Total 1,520.50 CZK")

    assert phone.payment["discount"] is None


def test_a_bill_that_is_paid_whole_has_nothing_to_choose(phone: Phone) -> None:
    phone.till.answers["getBill"] = BILL | {"allowPartialPayment": False, "allowTip": False}

    phone.opens()

    assert "This bill is paid as a whole, or not at all. 4 × Pivo 220.00 1.5 × Guláš 300.00 Pay" in phone.words
    assert not re.search(r'name="(q-|tip)', phone.page.text)
    phone.pays().waits_for("Total 520.00 CZK")


# -- How else it may end --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decision", "said"),
    [
        ("refuse", "✗ Not paid Your bank refused the payment. No money was taken."),
        ("leave", "✗ Not paid You walked away, so the payment was cancelled. No money was taken."),
    ],
)
def test_nothing_is_paid_where_the_bank_or_the_guest_says_no(phone: Phone, decision: str, said: str) -> None:
    phone.pays().decides(decision).waits_for_the_end()

    assert phone.told == ["getBill", "paymentStart", "paymentClosed CANCELLED"]
    assert said in phone.words
    assert "Total 520.00 CZK" in phone.words


def test_the_first_decision_counts(phone: Phone) -> None:
    phone.pays().decides("nonsense").decides("late").decides("refuse").waits_for_the_end()
    phone.sends(f"{phone.payment_path}decide/", decision="confirm")

    assert "Your bank refused the payment." in phone.words
    assert phone.told[-1] == "paymentClosed CANCELLED"


def test_a_guest_who_never_decides_is_not_waited_for() -> None:
    with a_till(getBill=BILL) as till, Qerko() as qerko:
        visit = Visits(patience=0.3).begin(qerko, till.pos(), "4/2", Choice(with_discount=False), id_="p-1")
        until(lambda: visit.now.phase is Phase.OVER, seconds=20)

        assert visit.now.ending is Ending.LATE
        assert till.received[-1].document["data"] == {"paymentId": "p-1", "state": "CANCELLED"}


def test_the_restaurant_may_take_a_payment_back(phone: Phone) -> None:
    phone.pays().waits_for("Confirm the payment")

    phone.till.post("cancel-payment", {"paymentId": phone.payment["id"]})

    phone.waits_for_the_end()
    assert "✗ Not paid The restaurant cancelled the payment. No money was taken." in phone.words
    assert phone.told[-1] == "paymentClosed CANCELLED"


@pytest.mark.parametrize(
    ("event", "result", "money"),
    [
        ("paymentStart", None, "No money was taken."),
        ("paymentProcessed", RECEIPT, "Your money comes back."),
    ],
)
def test_the_restaurant_may_cancel_before_it_answers(phone: Phone, event: str, result: Any, money: str) -> None:
    phone.till.answers[event] = Later(letters=[])
    phone.pays()
    if event == "paymentProcessed":
        phone.decides("confirm")
    until(lambda: phone.told[-1:] == [event], seconds=20)

    phone.till.post("cancel-payment", {"paymentId": phone.payment["id"]})
    phone.till.reply([{"result": result}], id=phone.till.received[-1].document["id"], event=event)

    phone.waits_for_the_end()
    assert f"✗ Not paid The restaurant cancelled the payment. {money}" in phone.words
    assert "cannot read" not in phone.words


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (REFUSED, "does not accept what you chose. The restaurant said: BAD_PARAMETER: Sold &lt;out&gt;."),
        (later_error("BILL_CLOSED", "Paid."), "nothing is left to pay. The restaurant said: BILL_CLOSED: Paid."),
        ((500, None), "Something broke at the restaurant. The restaurant said: HTTP 500 The point of sale broke."),
        (Later(letters=[]), "The restaurant noted the question, and gave no answer in time."),
    ],
)
def test_a_payment_that_is_refused_says_why(answer: Any, said: str) -> None:
    with a_phone(deadline=0.5, paymentStart=answer) as phone:
        phone.pays().waits_for_the_end()

        assert phone.words.partition("Not paid ")[2].startswith("No money was taken.")
        assert said in phone.words
        assert phone.told == ["getBill", "paymentStart", "paymentClosed CANCELLED"]


def test_a_receipt_that_does_not_come_gives_the_money_back(phone: Phone) -> None:
    phone.till.answers["paymentProcessed"] = REFUSED
    phone.pays().decides("confirm").waits_for_the_end()

    assert "✗ Not paid The restaurant does not accept" not in phone.words
    assert "✗ Not paid Your money comes back." in phone.words
    assert "BAD_PARAMETER: Sold &lt;out&gt;." in phone.words
    assert phone.told[-1] == "paymentClosed CANCELLED"


def test_a_receipt_that_cannot_be_read_is_none(phone: Phone) -> None:
    phone.till.answers["paymentProcessed"] = {"items": []}
    phone.pays().decides("confirm").waits_for_the_end()

    assert "Your money comes back. ! Qerko cannot read the answer." in phone.words
    assert "✗ The protocol is violated" in phone.words
    assert "receiptInfo: Field required (protocol section 5)" in phone.words


def test_paid_is_paid_even_where_the_restaurant_does_not_listen(phone: Phone) -> None:
    phone.till.answers["paymentClosed"] = (500, {"code": None, "message": "Ouch."})
    phone.pays().decides("confirm").waits_for_the_end()

    assert "✓ Paid" in phone.words
    assert "! The restaurant did not take notice of how it ended. ! Something broke at the restaurant." in phone.words


# -- What is chosen -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({BEER: "0", "q-2": ""}, "Choose at least one item."),
        ({BEER: "many"}, "A quantity is a number"),
        ({BEER: "-1"}, "A quantity is a number"),
        ({"tip": "own", "own_tip": "x"}, "A tip is an amount, such as 20.50."),
        ({"tip": "own", "own_tip": "-1"}, "A tip is an amount"),
        ({"tip": "99"}, "A tip is an amount"),
    ],
)
def test_a_choice_without_sense_is_not_asked(phone: Phone, fields: dict[str, str], said: str) -> None:
    phone.pays(**fields)

    assert phone.told == ["getBill"]
    assert f"! {said}" in phone.words
    for value in filter(None, fields.values()):
        assert f'value="{value}"' in phone.page.text or value == "99"
    assert 'aria-invalid="true"' in phone.page.text or "tip" in fields


def test_a_choice_that_is_too_long_for_an_address_is_forgotten(phone: Phone) -> None:
    phone.pays(**{f"q-{number}": "x" for number in range(2000)})

    assert phone.page.url.endswith("/bills/4/2/?problem=problem_quantity")
    assert "A quantity is a number" in phone.words


@pytest.mark.parametrize(
    ("fields", "changes", "said"),
    [
        ({BEER: "5"}, {}, "The bill has changed since you saw it."),
        ({"q-9": "1"}, {}, "The bill has changed since you saw it."),
        ({"q-2": "0.7"}, {}, "in the steps that the restaurant allows."),
        ({BEER: "1.5"}, {}, "in the steps that the restaurant allows."),
        ({BEER: "1"}, {"allowPartialPayment": False}, "The bill has changed since you saw it."),
        ({"tip": "5"}, {"allowTip": False}, "The bill has changed since you saw it."),
        ({"discount": "yes"}, {}, "The discount is not offered any more."),
        ({"discount": "yes"}, OFFER | {"denyDiscounts": True}, "The discount is not offered any more."),
        ({}, {"items": []}, "The bill has changed since you saw it."),
    ],
)
def test_what_the_bill_does_not_let_be_paid_is_not_started(
    phone: Phone, fields: dict[str, str], changes: dict[str, Any], said: str
) -> None:
    phone.till.answers["getBill"] = BILL | changes

    phone.pays(**fields).waits_for_the_end()

    assert phone.told == ["getBill"]
    assert "✗ Not paid" in phone.words
    assert f"{said} " in phone.words


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((422, {"code": "BILL_CLOSED", "message": "Paid."}), "This bill is closed: nothing is left to pay."),
        (b"[]", "Qerko cannot read the answer."),
        ([], "Qerko cannot read the answer."),
    ],
)
def test_a_bill_that_is_gone_is_not_paid(phone: Phone, answer: Any, said: str) -> None:
    phone.till.answers["getBill"] = answer

    phone.pays().waits_for_the_end()

    assert phone.told == ["getBill"]
    assert f"No money was taken. ! {said}" in phone.words


def test_what_is_left_is_always_payable_whatever_the_step() -> None:
    item = {"id": "1", "name": "Sýr", "quantity": "0.7", "price": "100"}
    bill = Bill.model_validate(BILL | {"items": [item]})
    choice = Choice(quantities={"1": "0.7"}, with_discount=False)

    assert choice.order(bill).items == {"1": Decimal("0.7")}
    with pytest.raises(NotPossible, match="problem_quantity"):
        Choice(quantities={"1": "0.1"}, with_discount=False).order(bill)


def test_a_tip_on_nothing_is_nothing() -> None:
    item = {"id": "1", "name": "Vrácená lahev", "quantity": "1", "price": "-3"}
    bill = Bill.model_validate(BILL | {"items": [item]})

    assert Choice(tip="10", with_discount=False).order(bill).tip == 0


def test_two_guests_do_not_pay_one_bill_at_a_time(phone: Phone) -> None:
    first = phone.pays().waits_for("Confirm the payment").payment_path

    phone.pays().waits_for_the_end()

    assert "Somebody is paying this bill just now." in phone.words
    phone.opens(first).decides("confirm").waits_for_the_end()
    assert "✓ Paid" in phone.words


def test_a_form_that_is_sent_twice_pays_once(phone: Phone) -> None:
    fields = {"payment": str(uuid.uuid4())}

    pages = [phone.sends("1/pay/4/2/", **fields).page.url for _ in range(3)]

    phone.waits_for("Confirm the payment")
    assert len(set(pages)) == 1
    assert phone.told.count("paymentStart") == 1
    assert phone.payment["id"] == fields["payment"]


def test_a_form_needs_no_id(phone: Phone) -> None:
    phone.sends("1/pay/4/2/", payment="1").waits_for("Confirm the payment")

    assert str(uuid.UUID(phone.payment["id"])) in phone.page.url


# -- While it takes its time ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "answer", "said", "next_"),
    [
        ("getBill", BILL, "One moment Qerko asks for the bill once more…", "Confirm the payment"),
        ("paymentStart", None, "One moment Qerko asks the restaurant whether you may pay…", "Confirm the payment"),
        ("paymentProcessed", RECEIPT, "One moment Your money has moved. The restaurant writes", "To the tables"),
        ("paymentClosed", None, "✓ Paid Qerko tells the restaurant how it ended…", "To the tables"),
    ],
)
def test_every_step_says_what_is_done_and_refreshes_the_page(
    phone: Phone, event: str, answer: Any, said: str, next_: str
) -> None:
    phone.till.answers[event] = Later(letters=[])
    phone.pays()
    if event in {"paymentProcessed", "paymentClosed"}:
        phone.decides("confirm")

    phone.waits_for(said)
    until(lambda: phone.told[-1:] == [event] or phone.told[-1:] == [f"{event} PAID"], seconds=20)

    assert '<noscript><meta http-equiv="refresh" content="1"></noscript>' in phone.page.text
    assert "The restaurant has 15 seconds for each answer." in phone.words
    assert re.search(r'<progress max="15" value="\d+"', phone.page.text)
    phone.till.reply([{"result": answer}], id=phone.till.received[-1].document["id"], event=event)
    assert "refresh" not in phone.waits_for(next_).page.text


def test_the_script_gets_what_has_changed_alone(phone: Phone) -> None:
    phone.pays().waits_for("Confirm the payment")
    address = re.findall(r'data-number="(\d+)" data-progress="/([^"]+)"', phone.page.text)
    ((number, path),) = address

    assert phone.opens(f"{path}?number={number}").page.status_code == 204
    fragment = phone.opens(f"{path}?number=0").page

    assert (fragment.status_code, fragment.headers["Cache-Control"]) == (200, "no-store")
    assert fragment.text.lstrip().startswith(f'<div id="visit" data-number="{number}" data-progress="/{path}">')
    assert "Confirm the payment" in fragment.text


def test_what_is_over_changes_no_more(phone: Phone) -> None:
    phone.pays().decides("leave").waits_for_the_end()

    assert "data-progress" not in phone.page.text


def test_the_conversation_goes_on_beside_the_page(phone: Phone) -> None:
    assert phone.opens("conversation/?after=").page.status_code == 204
    phone.opens("1/bills/4/2/")
    assert 'data-news="/conversation/" data-last="1"' in phone.page.text
    assert phone.opens("conversation/?after=1").page.status_code == 204
    phone.opens("1/bills/4/2/").opens("1/bills/4/2/")

    news = phone.opens("conversation/?after=1").page.text

    assert re.findall(r'<li id="said-(\d+)"', news) == ["3", "2"]
    assert re.findall(r'<li id="said-(\d+)"', phone.opens("conversation/?after=99").page.text) == ["3", "2", "1"]


def test_a_restaurant_is_named_where_there_are_several(phone: Phone) -> None:
    assert 'class="who"' not in phone.opens().page.text
    with a_phone(PointOfSale(url="http://127.0.0.1:1/", api_key=OTHER_KEY)) as another:
        assert '<span class="who">U Kocoura</span>' in another.opens().page.text
        another.pays().waits_for("Confirm the payment")
        assert another.words.startswith("Restaurants › U Kocoura Your payment")
        # The payment is one of the first restaurant.
        another.opens(another.payment_path.replace("1/", "2/", 1))
        assert another.page.status_code == 404


def test_what_was_violated_is_said_with_its_section(phone: Phone) -> None:
    phone.till.answers["paymentStart"] = {"so": "what"}

    phone.pays().waits_for("Confirm the payment")

    assert "the answer to paymentStart is null, not an object (protocol section 5)" in phone.words


@pytest.mark.parametrize(
    ("answer", "sign", "hint"),
    [
        ((500, {"code": None, "message": "Ouch."}), "!", "The point of sale broke. If it is django_qerko: qerko_show "),
        ((404, {"code": "NOT_FOUND", "message": "No."}), "!", "Nobody is at this address: is the webhook’s address"),
        ((413, {"code": None, "message": "No."}), "!", "The point of sale did not understand what Qerko said."),
        (REFUSED, "✓", ""),
        ((500, "ouch"), "✗", "The point of sale broke."),
    ],
)
def test_what_broke_has_no_tick(phone: Phone, answer: Any, sign: str, hint: str) -> None:
    phone.till.answers["getBill"] = answer

    aside = phone.opens().page.text.partition("<aside")[2]

    assert re.findall(r'class="mark \w+" role="img" aria-label="[^"]+">(.)<', aside) == [sign]
    assert hint in aside
    assert ('class="advice"' in aside) is bool(hint)


def test_a_key_in_a_refusal_is_hidden(phone: Phone) -> None:
    phone.till.answers["paymentStart"] = (422, {"code": None, "message": f"Is it {KEY.reveal()}?"})

    phone.pays().waits_for_the_end()

    assert "Is it …e4e1?" in phone.words
    assert KEY.reveal() not in phone.page.text


# -- The receipt ----------------------------------------------------------------------------------


def test_a_receipt_that_is_postponed_is_asked_for_again(phone: Phone) -> None:
    phone.till.answers |= {"paymentProcessed": POSTPONED, "getPostponedReceipt": REFUSED}
    phone.pays().decides("confirm").waits_for_the_end()
    assert "4 × Pivo 220.00 1.5 × Guláš 300.00 Total 520.00 CZK The receipt follows." in phone.words
    assert "2026-7" not in phone.words

    phone.sends(f"{phone.payment_path}receipt/").waits_for("The receipt is still not there.")
    assert "The restaurant said: BAD_PARAMETER" in phone.words
    phone.till.answers["getPostponedReceipt"] = later(RECEIPT)
    phone.sends(f"{phone.payment_path}receipt/").waits_for("Number 2026-7")

    assert "The receipt follows." not in phone.words
    assert phone.told[-2:] == ["getPostponedReceipt"] * 2
    phone.sends(f"{phone.payment_path}receipt/").waits_for_the_end()
    assert len(phone.told) == 6


def test_a_postponed_receipt_is_asked_for_with_growing_pauses() -> None:
    asked: list[float] = []

    def note(exchange: Exchange) -> None:
        if exchange.event == "getPostponedReceipt":
            asked.append(time.monotonic())
            if len(asked) == 3:
                till.answers["getPostponedReceipt"] = RECEIPT

    with (
        a_till(getBill=BILL, paymentProcessed=POSTPONED, getPostponedReceipt=POSTPONED) as till,
        Qerko(on_exchange=note) as qerko,
    ):
        visit = Visits(first_pause=0.1).begin(qerko, till.pos(), "4/2", Choice(with_discount=False), id_="p-1")
        until(lambda: visit.now.phase is Phase.DECIDING, seconds=20)
        visit.decide(Ending.CONFIRM)
        until(lambda: visit.now.phase is Phase.OVER, seconds=20)

    assert visit.now.story
    assert visit.now.story.has_receipt
    pauses = [after - before for before, after in pairwise(asked)]
    assert len(pauses) == 3
    assert all(pause > least for pause, least in zip(pauses, (0.2, 0.4, 0.8), strict=True))


def test_a_receipt_is_not_asked_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visits, "ASKS_FOR", 0.0)
    with a_phone(paymentProcessed=POSTPONED) as phone:
        phone.pays().decides("confirm").waits_for_the_end()

    assert "The receipt follows." in phone.words
    assert "Ask for the receipt now" not in phone.words


def test_while_a_receipt_is_asked_for_it_is_not_asked_for_twice(phone: Phone) -> None:
    phone.till.answers |= {"paymentProcessed": POSTPONED, "getPostponedReceipt": Later(letters=[])}
    phone.pays().decides("confirm").waits_for_the_end()

    phone.sends(f"{phone.payment_path}receipt/").waits_for("✓ Paid Qerko asks for the receipt…")
    assert "Ask for the receipt now" not in phone.words
    phone.sends(f"{phone.payment_path}receipt/")
    until(lambda: phone.told[-1] == "getPostponedReceipt", seconds=20)

    asked = phone.till.received[-1].document["id"]
    phone.till.reply([{"result": RECEIPT}], id=asked, event="getPostponedReceipt")
    phone.waits_for("Number 2026-7")
    assert phone.told.count("getPostponedReceipt") == 1


def test_a_payment_that_is_not_paid_has_no_receipt_to_ask_for(phone: Phone) -> None:
    phone.pays().decides("leave").waits_for_the_end()

    phone.sends(f"{phone.payment_path}receipt/").waits_for_the_end()

    assert phone.told[-1] == "paymentClosed CANCELLED"


def test_a_receipt_may_come_by_email_and_say_little(phone: Phone) -> None:
    little = {"receiptInfo": {}, "items": [], "taxInfo": [{"rate": "21", "base": "1", "tax": "0.21"}]}
    phone.till.answers["paymentProcessed"] = little | {"receiptDeliveryType": "EMAIL", "fiscalInfo": "FIK 1"}

    phone.pays().decides("confirm").waits_for_the_end()

    assert "The restaurant sends the receipt by e-mail. Item Amount Total 0.00 CZK VAT" in phone.words
    assert "21 % 1.00 0.21 Fiscal data FIK 1" in phone.words


# -- Two languages --------------------------------------------------------------------------------


def test_a_guest_is_spoken_to_in_czech(phone: Phone) -> None:
    phone.till.answers["getBill"] = BILL | {"items": [BILL["items"][0] | {"price": "1234.50"}]}

    phone.opens(**{"Accept-Language": "de, cs-CZ;q=0.9, en;q=0.8"})

    assert '<html lang="cs">' in phone.page.text
    assert "1\N{NO-BREAK SPACE}234,50" in phone.page.text
    assert "Co zbývá zaplatit 4 938,00 Kč Co platíte?" in phone.words
    assert "Everything" not in phone.page.text


def test_a_language_is_chosen_and_kept(phone: Phone) -> None:
    phone.opens("1/bills/?id=4/2")
    assert '<button class="quiet" name="language" value="cs" lang="cs">Česky</button>' in phone.page.text
    assert '<input type="hidden" name="back" value="/1/bills/4/2/">' in phone.page.text

    phone.sends("language/", back="/1/bills/4/2/", language="cs")

    assert phone.page.url == f"{phone.url}1/bills/4/2/"
    assert "Co platíte?" in phone.words
    assert "Co platíte?" in phone.opens(**{"Accept-Language": "en"}).words
    cookie = phone.page.request.headers["Cookie"]
    assert cookie == "qerko_sandbox_language=cs"
    phone.pays().decides("confirm").waits_for("Ke stolům")
    assert "✓ Zaplaceno Celkem 520,00 Kč" in phone.words
    assert "Vystaveno 24. 11. 2026 21:05" in phone.words


@pytest.mark.parametrize("back", ["//evil.example/", "http://evil.example/", "/\\evil.example", "", "1/"])
def test_a_language_leads_to_no_other_site(phone: Phone, back: str) -> None:
    response = phone.post(
        f"{phone.url}language/", data={"back": back, "language": "xx"}, timeout=20, allow_redirects=False
    )

    assert response.headers["Location"] == "/"
    assert "Set-Cookie" not in response.headers


def test_trouble_is_told_in_the_guests_language_and_to_a_program_in_english(phone: Phone) -> None:
    czech = {"Accept-Language": "cs"}

    assert "Nenalezeno Na této adrese nic není." in phone.opens("nowhere/", **czech).words
    told = phone.post(f"{phone.url}api/v4/pos/nowhere", headers=czech, timeout=20).json()
    assert told["message"] == "There is nothing at this address."


def test_every_phrase_is_there_in_every_language_with_the_same_gaps() -> None:
    for phrase in PHRASES.values():
        assert len(phrase) == len(LANGUAGES)
        assert all(phrase)
        assert len({tuple(sorted(re.findall(r"{\w+}", words))) for words in phrase}) == 1


@pytest.mark.parametrize(
    ("code", "value", "money", "number"),
    [
        ("en", "1234567.5", "1,234,567.50\xa0CZK", "1,234,567.5"),
        ("cs", "1234567.5", "1\xa0234\xa0567,50\xa0Kč", "1\xa0234\xa0567,5"),
        ("cs", "-100", "−100,00\xa0Kč", "−100"),
        ("en", "0.500", "0.50\xa0CZK", "0.5"),
    ],
)
def test_amounts_are_written_as_they_are_there(code: str, value: str, money: str, number: str) -> None:
    language = Language(code)

    assert language.money(Decimal(value), "CZK") == money
    assert language.number(Decimal(value)) == number
    assert language.moment(datetime(2026, 11, 4, 9, 5, tzinfo=UTC)).endswith("09:05")


# -- Who may change something ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["1/pay/4/2/", "1/payments/{}/decide/", "1/payments/{}/receipt/", "language/", "conversation/1/again/"],
)
def test_another_site_changes_nothing(phone: Phone, path: str) -> None:
    phone.pays().waits_for("Confirm the payment")
    path = path.format(phone.payment["id"])

    response = phone.post(f"{phone.url}{path}", headers={"Origin": "http://evil.example"}, timeout=20)

    assert response.status_code == 403
    assert "Another page must not change anything here." in response.text
    assert phone.opens(path).page.status_code == 405


def test_what_was_delivered_is_delivered_again_where_somebody_asks_for_it(phone: Phone) -> None:
    phone.opens()
    action = re.findall(r'action="/(conversation/\d+/again/)"', phone.page.text)[0]

    assert phone.sends(action).page.status_code == 204

    until(lambda: len(phone.till.received) == 2, seconds=20)
    first, second = phone.till.received
    assert first.document["id"] == second.document["id"]
    assert second.hmac_holds
    assert phone.sends("conversation/999999/again/").page.status_code == 404


@pytest.mark.parametrize("action", ["", "progress/", "decide/", "receipt/"])
def test_a_payment_that_nobody_knows_is_not_there(phone: Phone, action: str) -> None:
    path = f"1/payments/{uuid.uuid4()}/{action}"

    assert (phone.opens(path) if action in {"", "progress/"} else phone.sends(path)).page.status_code == 404


def test_no_setting_of_the_project_limits_a_form(phone: Phone, settings: LazySettings) -> None:
    settings.DATA_UPLOAD_MAX_NUMBER_FIELDS = 1
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1
    settings.CSRF_COOKIE_SECURE = True

    phone.pays(**{BEER: "1", "q-2": "0.5", "tip": "5"}).waits_for("Total 162.75 CZK")


# -- When something breaks ------------------------------------------------------------------------


def test_a_payment_that_breaks_here_is_over(caplog: pytest.LogCaptureFixture) -> None:
    def break_(exchange: Exchange) -> None:
        if exchange.event == "paymentStart":
            raise RuntimeError("the printer is out of paper")

    with (
        a_till(getBill=BILL) as till,
        Qerko(on_exchange=break_) as qerko,
        SandboxServer(qerko, [till.pos()]) as server,
        Phone(server, till) as phone,
    ):
        phone.pays().waits_for_the_end()

    assert "✗ Not paid The sandbox itself broke; its log says where." in phone.words
    assert "out of paper" not in phone.page.text
    assert "out of paper" in caplog.text


@pytest.mark.parametrize("awaited", ["a decision", "a receipt"])
def test_a_sandbox_that_closes_waits_for_nobody(awaited: str) -> None:
    with a_phone(paymentProcessed=POSTPONED) as phone:
        phone.pays().waits_for("Confirm the payment")
        if awaited == "a receipt":
            phone.decides("confirm").waits_for("Ask for the receipt now")
        payment_id = phone.payment["id"]
        (thread,) = (thread for thread in threading.enumerate() if thread.name == f"visit-{payment_id}")

    thread.join(10)
    assert not thread.is_alive()
    assert phone.told[-1] == {"a decision": "paymentStart", "a receipt": "paymentClosed PAID"}[awaited]


def test_old_visits_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visits, "REMEMBERED", 1)
    with a_till(getBill=[]) as till, Qerko() as qerko:
        pos, known = till.pos(), Visits()
        begun = [known.begin(qerko, pos, "1", Choice(), id_=id_) for id_ in ("a", "b")]
        until(lambda: {visit.now.phase for visit in begun} == {Phase.OVER}, seconds=20)

        assert known.find(pos, "a") is None
        assert known.find(pos, "b") is begun[1]
