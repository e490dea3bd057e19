"""Drive real deliveries in any order, and compare everything that they leave with the model."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import F
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from django_qerko import answers, tasks
from django_qerko.exceptions import StepRefused
from django_qerko.models import Bill as BillRow
from django_qerko.models import Payment as PaymentRow
from django_qerko.models import Reply, Restaurant, WebhookEvent, quantities
from django_qerko.models.payment import PaymentStep
from django_qerko.replying import sending
from django_qerko.tending import reconciling
from tests.deliveries import deliver
from tests.money.model import ACCEPT, PAID, POSTPONED, Bill, Model, Mood, Outcome
from tests.money.qerko import Qerko
from tests.money.till import Till

PRICES = {"beer": Decimal("55.00"), "goulash": Decimal("189.90")}
TABLES = {"T1": ["b1", "b2"], "T2": ["b3"]}
LATER = ["paymentStart", "paymentProcessed", "paymentClosed"]

#: What is picked where it is not known yet.
UNKNOWN = 7
#: The steps of one example.
STEPS = int(os.environ.get("MONEY_STEPS", "18"))

WHAT = ("rest", "rest", "rest", "beer", "half", "half", "much", "mixed", "nothing", "zero", "euro", "dear", "off")
bills = st.sampled_from(["b1", "b1", "b1", "b2", "b3", "b4"])
#: One of the newest payments, or the next, which is not known yet.
payments = st.integers(0, 8)
#: The next payment, or one that is known.
beginners = st.sampled_from([0, 0, 0, 0, 1, 2])
moods = st.sampled_from(["accept"] * 6 + ["refuse", "break", "silent"])
#: Now, later, or after its deadline.
whens = st.sampled_from(["now", "now", "now", "later", "late"])
states = st.sampled_from([PAID, PAID, PAID, "DECLINED", "EXPIRED"])
kinds = st.sampled_from(["QERKO_GENERATED", POSTPONED])
picks = st.integers(0, 5)
#: What Qerko says of a payment (``None``: it knows of none), and how it takes a call.
sayings = st.sampled_from([PAID, PAID, "STARTED", "DECLINED", None])
words = st.sampled_from(["takes", "takes", "takes", "is busy", "hangs up"])


class Errors(logging.Handler):
    """What a person finds in the log."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@dataclass(kw_only=True)
class World:
    """What all examples share."""

    restaurant: Restaurant
    till: Till
    qerko: Qerko
    errors: Errors
    #: Puts these names into the setting ``QERKO``.
    configure: Callable[..., None]
    is_net: bool


@dataclass(kw_only=True)
class Letter:
    """An event, and what must have come of it."""

    id: str
    event: str
    data: Any
    #: As its record's state, or ``new``.
    state: str = "new"
    status: int | None = None
    body: bytes = b""
    is_promised: bool = False
    is_overdue: bool = False
    #: Whether its next handling, or the question to Qerko about it, is due.
    is_due: bool = False
    #: ``PAID`` of a payment that never started: Qerko is to be asked.
    wants_news: bool = False
    #: Whether we said it to ourselves, because Qerko said so when it was asked.
    is_hearsay: bool = False
    #: Everything that may be told of it later.
    bodies: list[bytes] = field(default_factory=list)

    @property
    def is_question(self) -> bool:
        return self.event != "paymentClosed"


class MoneyMachine(RuleBasedStateMachine):
    """Qerko, guests, a till and a clock, in any order."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.till, self.qerko = world.till, world.qerko
        self.letters: list[Letter] = []
        #: The last content with which each payment was said to start.
        self.told: dict[str, Any] = {}
        self.receipts = 0
        #: Whether everything happens at once.
        self.is_this_second = False
        self.evening = transaction.atomic()
        self.evening.__enter__()

    def teardown(self) -> None:
        try:
            self._every_promise_is_kept()
        finally:
            transaction.set_rollback(True)
            self.evening.__exit__(None, None, None)

    # -- What happens --------------------------------------------------------------------------------

    @initialize(refuses=st.booleans(), told=st.lists(bills, max_size=2))
    def open(self, refuses: bool, told: list[str]) -> None:
        is_net = self.world.is_net
        ordered = {bill: {"beer": Decimal(2), "goulash": Decimal(1)} for bill in ("b1", "b2", "b3")}
        self.till.begin(ordered, is_net=is_net)
        self.qerko.begin()
        self.world.configure(
            BILL_ITEMS="ordered" if is_net else "unpaid", CONTRADICTIONS="refuse" if refuses else "accept"
        )
        self.model = Model(
            # What is ordered is the one thing that both know.
            bills={bill: Bill(ordered=items) for bill, items in ordered.items()},
            tables=TABLES,
            prices=PRICES,
            is_net=is_net,
            refuses_contradictions=refuses,
        )
        for bill in told:
            self.look_at_bill(bill, "accept", "now")

    @rule(bill=bills, mood=moods, when=whens)
    def look_at_bill(self, bill: str, mood: str, when: str) -> None:
        self._receive(self._letter("getBill", {"billId": bill}), Mood(mood), when)

    @rule(table=st.sampled_from(["T1", "T1", "T2"]), mood=moods, when=whens)
    def look_at_table(self, table: str, mood: str, when: str) -> None:
        self._receive(self._letter("getTableContents", {"tableId": table}), Mood(mood), when)

    @rule(bill=st.sampled_from(["b1", "b1", "b2", "b3"]), item=st.sampled_from(sorted(PRICES)))
    def order(self, bill: str, item: str) -> None:
        """A new round, of which Qerko hears nothing."""
        self.till.ordered[bill][item] += 1

    @rule(bill=bills, pick=beginners, what=st.sampled_from(WHAT), mood=moods, when=whens)
    def start(self, bill: str, pick: int, what: str, mood: str, when: str) -> None:
        """A payment begins; or, under the id of one that is known, another."""
        payment = self._paying(pick or UNKNOWN)
        self.told[payment] = self._payment(payment, bill, what)
        self._receive(self._letter("paymentStart", {"payment": self.told[payment]}), Mood(mood), when)

    @rule(pick=payments, mood=moods, when=whens)
    def start_again(self, pick: int, mood: str, when: str) -> None:
        """The same payment under a new event."""
        if (payment := self._paying(pick)) in self.told:
            self._receive(self._letter("paymentStart", {"payment": self.told[payment]}), Mood(mood), when)

    @rule(pick=payments, mood=moods, kind=kinds, when=whens)
    def process(self, pick: int, mood: str, kind: str, when: str) -> None:
        letter = self._letter("paymentProcessed", {"paymentId": self._paying(pick)})
        self._receive(letter, Mood(mood, self._receipt(kind)), when)

    @rule(pick=payments, state=states, mood=moods, when=whens)
    def close(self, pick: int, state: str, mood: str, when: str) -> None:
        letter = self._letter("paymentClosed", {"paymentId": self._paying(pick), "state": state})
        self._receive(letter, Mood(mood), when)

    @rule(bill=bills, what=st.sampled_from(WHAT), state=states)
    def pay(self, bill: str, what: str, state: str) -> None:
        """A guest's whole way, as it mostly is."""
        self.look_at_bill(bill, "accept", "now")
        self.start(bill, 0, what, "accept", "now")
        self.process(0, "accept", "QERKO_GENERATED", "now")
        self.close(0, state, "accept", "now")

    @rule(bill=bills, what=st.sampled_from(WHAT), mood=moods, kind=kinds)
    def process_one(self, bill: str, what: str, mood: str, kind: str) -> None:
        """A guest's way up to the receipt, which may be postponed or refused."""
        self.look_at_bill(bill, "accept", "now")
        self.start(bill, 0, what, "accept", "now")
        self.process(0, mood, kind, "now")

    @rule(bill=bills, state=states)
    def hear_of_the_one_before(self, bill: str, state: str) -> None:
        """One payment came to nothing, the next is in progress, and of the first is heard once more."""
        self.pay(bill, "rest", "DECLINED")
        self.start(bill, 0, "rest", "accept", "now")
        self.close(1, state, "accept", "now")

    @rule(pick=payments, mood=moods, kind=kinds)
    def ask_for_receipt(self, pick: int, mood: str, kind: str) -> None:
        letter = self._letter("getPostponedReceipt", {"paymentId": self._paying(pick)})
        self._receive(letter, Mood(mood, self._receipt(kind)), "now")

    @rule(pick=payments, kind=kinds)
    def provide_receipt(self, pick: int, kind: str) -> None:
        """The till hands in a receipt by itself."""
        if (payment := self._paying(pick)) not in self.model.payments:
            self.start("b1", 0, "beer", "accept", "now")
            payment = self._paying(0)
        receipt = self._receipt(kind)
        is_wanted = self.model.provide(self.model.payments[payment], receipt)
        try:
            PaymentRow.objects.get(payment_id=payment).provide_receipt(answers.Receipt.model_validate(receipt))
        except StepRefused:
            assert not is_wanted
        else:
            assert is_wanted

    @rule(pick=picks, mood=moods, kind=kinds, when=st.sampled_from(["now", "later"]))
    def deliver_again(self, pick: int, mood: str, kind: str, when: str) -> None:
        """The answer was lost on its way, or Qerko thinks so."""
        delivered = [letter for letter in self.letters if not letter.is_hearsay]
        if delivered:
            self._receive(self._picked(delivered, pick), Mood(mood, self._receipt(kind)), when)

    @rule(pick=picks, mood=moods, kind=kinds)
    def work(self, pick: int, mood: str, kind: str) -> None:
        """The queue brings a record, be there anything to do or not."""
        wanting = [letter for letter in self.letters if self._wants_handling(letter)]
        if not wanting:
            self.process(pick, mood, kind, "later")
        letter = self._picked(wanting or self.letters, pick)
        act = partial(tasks.handle_event, WebhookEvent.objects.get(event_id=letter.id).pk)
        if not self._wants_handling(letter):
            act()
        elif letter.is_question and letter.is_overdue:
            act()
            letter.state = "stale"
        else:
            self._handle(letter, Mood(mood, self._receipt(kind)), act)

    @rule(pick=picks, word=words, is_late=st.booleans())
    def reply(self, pick: int, word: str, is_late: bool) -> None:
        """A messenger makes an attempt: it is taken, may be sent twice, or is too late."""
        replies = Reply.objects.waiting().select_related("event").order_by("-pk")[:5]
        waiting = list(replies)
        if not waiting:
            self.start("b1", 0, "beer", "accept", "later")
            self.work(0, "accept", "QERKO_GENERATED")
            waiting = list(replies.all())
        reply = self._picked(waiting, pick)
        letter = next(letter for letter in self.letters if letter.id == reply.event.event_id)
        if is_late:
            reply.deadline_at = reply.created_at - timedelta(hours=1)
        Reply.objects.filter(pk=reply.pk).update(next_attempt_at=reply.created_at, deadline_at=reply.deadline_at)
        self.qerko.word, heard = word, len(self.qerko.replies)
        is_late = reply.deadline_at < reply.created_at
        tasks.send_reply(reply.pk)
        if is_late:
            sending.expire(reply)
        reply.refresh_from_db()
        assert reply.state == ("stale" if is_late else "delivered" if word == "takes" else "waiting")
        news = self.qerko.replies[heard:]
        assert len(news) == (not is_late and word != "is busy")
        for said in news:
            assert (said["id"], said["event"]) == (letter.id, letter.event)
            assert said["error" if reply.is_error else "result"] in map(json.loads, letter.bodies)

    @rule()
    def wait(self) -> None:
        """Two hours pass: replies are too late, questions to Qerko are due."""
        span = timedelta(hours=2)
        WebhookEvent.objects.update(deadline_at=F("deadline_at") - span, next_handling_at=F("next_handling_at") - span)
        Reply.objects.waiting().update(deadline_at=F("deadline_at") - span)
        PaymentRow.objects.update(
            created_at=F("created_at") - span,
            changed_at=F("changed_at") - span,
            newer_start_at=F("newer_start_at") - span,
            next_question_at=F("next_question_at") - span,
        )
        for letter in self.letters:
            letter.is_overdue = letter.is_due = True
        for payment in self.model.payments.values():
            payment.is_old = payment.is_due = True

    @rule(pick=payments, said=sayings, word=words, by_hand=st.booleans(), mood=moods)
    def ask_about_payment(self, pick: int, said: str | None, word: str, by_hand: bool, mood: str) -> None:
        """Reconciliation of one payment, due or not."""
        payment = self._paying(pick)
        known = self.model.payments.get(payment)
        if known is None:
            return
        row = PaymentRow.objects.select_related("restaurant", "bill").get(payment_id=payment)
        self.qerko.word, self.qerko.payment = word, self._payment_at_qerko(self.told[payment], said)
        act = partial(reconciling.reconcile, row, by_hand=True) if by_hand else partial(tasks.ask_about_payment, row.pk)
        end = None
        if known.is_in_progress and (by_hand or known.is_due):
            known.is_due = False
            end = self.model.hear_asked(payment, said, by_hand=by_hand) if word == "takes" else None
        self._hear_said(payment, end, Mood(mood), act)

    @rule(pick=picks, said=sayings, word=words, mood=moods)
    def ask_about_unstarted(self, pick: int, said: str | None, word: str, mood: str) -> None:
        """Reconciliation of a payment that is paid and never started here."""
        letters = [letter for letter in self.letters if letter.wants_news]
        if not letters:
            self.close(UNKNOWN, PAID, "accept", "now")
        letter = self._picked(letters or self.letters, 0 if not letters else pick)
        payment = letter.data["paymentId"]
        told = self.told.setdefault(payment, self._payment(payment, "b1", "beer"))
        self.qerko.word, self.qerko.payment = word, self._payment_at_qerko(told, said)
        act = partial(tasks.ask_about_event, WebhookEvent.objects.get(event_id=letter.id).pk)
        is_asked, is_heard = letter.is_due, letter.is_due and word == "takes"
        letter.is_due, letter.wants_news = False, not (is_heard and said == PAID)
        if is_heard and said == PAID:
            self.model.enter_unstarted(told)
        end = PAID if is_heard and said == PAID else None
        self._hear_said(payment, end, Mood(mood), act, is_alarming=is_heard and said != PAID)
        assert self.qerko.asked == is_asked

    @rule(pick=payments, table=st.booleans())
    def pay_while_looking(self, pick: int, table: bool) -> None:
        """The end of a payment, of one in progress where there is one, is heard as the till is asked for the bill."""
        occupants = [name for name, known in self.model.payments.items() if known.is_in_progress]
        payment = (occupants or [self._paying(pick)])[0]
        bill = self.model.payments[payment].bill if payment in self.model.payments else "b1"
        if not (table or self.model.bills[bill].unpaid) or bill not in self.till.ordered:
            return
        name = next(name for name, some in TABLES.items() if bill in some)
        looking = self._letter(*(("getTableContents", {"tableId": name}) if table else ("getBill", {"billId": bill})))
        closing = self._letter("paymentClosed", {"paymentId": payment, "state": PAID})
        seen = {name: replace(self.model.bills[name]) for name in (TABLES[name] if table else [bill])}
        self.till.meanwhile = partial(self._receive, closing, ACCEPT, "now")
        self.is_this_second = True
        self.world.configure(ANSWER_LATER=[])
        self.till.mood = ACCEPT
        response = deliver(self.world.restaurant, looking.event, looking.data, event_id=looking.id)
        told = {name: shown for name in seen if (shown := self._look_late(name, seen[name], is_list=table))}
        looking.state, looking.status, looking.body = "handled", 200, response.content
        assert response.status_code == 200
        assert _said(looking) == told
        self.is_this_second = False
        self._let_a_minute_pass()

    def _look_late(self, name: str, seen: Bill, *, is_list: bool) -> dict[str, Decimal]:
        """What Qerko is told of a bill that the till looked at before it changed."""
        bill = self.model.bills[name]
        # Where the app takes off what was paid, it does so after a list was made.
        before = bill if is_list and self.world.is_net else seen
        if not before.unpaid:
            bill.is_open = bill.is_open and not (bill.is_known and (self.world.is_net or not is_list))
            return {}
        is_open = bill.is_open
        paid_then = before.paid
        if is_list and not self.world.is_net:
            # The app can only tell by what is offered: rather too little is left until Qerko asks again than too much.
            paid_then = quantities.read(BillRow.objects.get(bill_id=name).paid_then)
        shown = self.model.tell(bill, before.unpaid, paid_then)
        assert bill.is_blind or all(left <= bill.unpaid.get(item, 0) for item, left in bill.left.items())
        if not is_list and (seen.is_open or seen.paid != bill.paid):
            # Our row was read before; rather closed until Qerko asks again than open by mistake.
            bill.is_open = is_open
        return shown

    # -- How it is driven ----------------------------------------------------------------------------

    def _letter(self, event: str, data: Any) -> Letter:
        self.letters.append(Letter(id=f"e{len(self.letters)}", event=event, data=data))
        return self.letters[-1]

    def _paying(self, pick: int) -> str:
        """The id of one of the newest payments, or of the next."""
        names = list(self.told)
        return names[-1 - pick % len(names)] if names and pick < UNKNOWN else f"p{len(names)}"

    @staticmethod
    def _picked(some: list[Any], pick: int) -> Any:
        """One of the newest."""
        return some[-1 - pick % len(some)]

    def _payment(self, payment: str, bill: str, what: str) -> dict[str, Any]:
        left = self.model.bills[bill].left if bill in self.model.bills else {}
        rest = {item: quantity for item, quantity in left.items() if quantity} or {"beer": Decimal(1)}
        lines: dict[str, list[tuple[str, Any]]] = {
            "beer": [("beer", 1)],
            "half": [("goulash", "0.5")],
            "much": [("beer", 3)],
            "mixed": [("beer", 1), ("goulash", "0.5"), ("beer", "0.5")],
            "nothing": [],
            "zero": [("beer", 1), ("goulash", 0)],
        }
        items = [
            {
                "id": item,
                "name": item,
                "quantity": str(quantity),
                "price": str(PRICES[item] + (1 if what == "dear" else 0)),
            }
            for item, quantity in lines.get(what, list(rest.items()))
        ]
        total = sum((Decimal(item["price"]) * Decimal(item["quantity"]) for item in items), Decimal(0))
        return {
            "id": payment,
            "idBill": bill,
            "currency": "EUR" if what == "euro" else "CZK",
            "state": "STARTED",
            "items": items,
            "parts": [{"total": str(total + (10 if what == "off" else 0))}],
        }

    @staticmethod
    def _payment_at_qerko(told: dict[str, Any], said: str | None) -> dict[str, Any] | None:
        return None if said is None else {**told, "state": said}

    def _receipt(self, kind: str) -> Any:
        """A receipt that no other is like."""
        self.receipts += 1
        info = {"serial": str(self.receipts), "headerLines": [], "footerLines": []}
        return {"receiptInfo": info, "items": [], "taxInfo": [], "receiptDeliveryType": kind}

    @staticmethod
    def _record(letter: Letter) -> WebhookEvent:
        """Its row; what we say to ourselves has an id that only the app knows."""
        if letter.is_hearsay:
            newest = WebhookEvent.objects.filter(payment_id=letter.data["paymentId"]).order_by("-pk").first()
            assert newest is not None
            letter.id = newest.event_id
        return WebhookEvent.objects.get(event_id=letter.id)

    def _mood(self, letter: Letter, mood: Mood) -> Mood:
        """A till that leaves what was paid to others never refuses to hear of it: it would offer it again."""
        is_paid = letter.event == "paymentClosed" and letter.data["state"] == PAID
        return ACCEPT if mood.word == "refuse" and is_paid and not self.world.is_net else mood

    def _wants_handling(self, letter: Letter) -> bool:
        is_retried = letter.state == "failed" and not letter.is_question and letter.is_due
        return letter.state == "received" or is_retried

    def _receive(self, letter: Letter, mood: Mood, when: str) -> None:
        """Deliver an event, for the first time or again, and see what Qerko hears."""
        self.world.configure(ANSWER_LATER=LATER if when == "later" else [])
        created = time.time() - (20 if when == "late" else 0)
        send = partial(deliver, self.world.restaurant, letter.event, letter.data, event_id=letter.id, created=created)
        if letter.state == "handled":
            response = send()
            assert (response.status_code, response.content) == (letter.status, letter.body)
        elif when == "late" and letter.is_question:
            assert send().status_code == 410
            letter.state = "stale"
            self.model.learn(letter.event, letter.data)
        elif when == "later" and letter.event in LATER:
            assert send().status_code == 202
            letter.state, letter.is_promised, letter.is_overdue = "received", True, False
            self.model.learn(letter.event, letter.data)
        else:
            letter.is_overdue = when == "late"
            self._handle(letter, mood, send)

    def _handle(self, letter: Letter, mood: Mood, act: Callable[[], Any]) -> None:
        """Have an event handled, and see that what must come of it has come of it."""
        mood = self._mood(letter, mood)
        outcome = self.model.hear(letter.event, letter.data, mood)
        self._see(letter, outcome, mood, act)

    def _see(self, letter: Letter, outcome: Outcome, mood: Mood, act: Callable[[], Any]) -> None:
        self.till.mood, self.till.asked = mood, 0
        self.world.errors.messages.clear()
        response = act()
        record = self._record(letter)
        letter.status, letter.body = outcome.status, bytes(record.answer or b"")
        letter.state = "handled" if outcome.is_final else "failed"
        letter.wants_news = letter.is_due = outcome.wants_news
        letter.bodies.append(letter.body)
        if response is not None:
            assert (response.status_code, response.content) == (outcome.status, letter.body)
        if outcome.status == 200:
            assert _said(letter) == outcome.said
        assert bool(self.till.asked) == outcome.is_asked
        assert bool(self.world.errors.messages) == outcome.is_alarming, self.world.errors.messages
        self._let_a_minute_pass()

    def _hear_said(
        self, payment: str, end: str | None, mood: Mood, act: Callable[[], Any], *, is_alarming: bool = False
    ) -> None:
        """What Qerko says when it is asked is an event, too: ``end`` is how it ends the payment, if it does."""
        self.qerko.asked = False
        data = {"paymentId": payment, "state": end}
        letters = [letter for letter in self.letters if letter.is_hearsay and letter.data == data]
        if end is None or (letters and not self._wants_handling(letters[0])):
            self.world.errors.messages.clear()
            act()
            assert bool(self.world.errors.messages) == is_alarming
            return
        letter = letters[0] if letters else self._letter("paymentClosed", data)
        letter.is_hearsay = True
        self._handle(letter, mood, partial(_silently, act))

    def _let_a_minute_pass(self) -> None:
        """What was paid is not of this second, so that the till knew of it when it is asked next."""
        if self.is_this_second:
            return
        minute = timedelta(minutes=1)
        BillRow.objects.update(settled_at=F("settled_at") - minute)
        PaymentRow.objects.paid().update(changed_at=F("changed_at") - minute)

    # -- What must hold ------------------------------------------------------------------------------

    @invariant()
    def everything_holds(self) -> None:
        self._payments_are_the_model()
        self._bills_are_the_model()
        self._every_event_is_as_it_was_answered()
        self._the_history_leads_to_the_state()
        self._nothing_is_sold_twice()

    def _payments_are_the_model(self) -> None:
        rows = PaymentRow.objects.values_list(
            "payment_id", "bill__bill_id", "state", "final_state", "receipt", "in_progress_on__bill_id"
        )
        assert {row[0]: row[1:] for row in rows} == {
            name: (
                payment.bill,
                payment.state,
                payment.final,
                payment.receipt,
                payment.bill if payment.is_in_progress else None,
            )
            for name, payment in self.model.payments.items()
        }
        marks = PaymentRow.objects.values_list("payment_id", "alarm", "newer_start_at")
        assert {name: (bool(alarm), newer is not None) for name, alarm, newer in marks} == {
            name: (payment.is_alarming, payment.is_overtaken) for name, payment in self.model.payments.items()
        }

    def _bills_are_the_model(self) -> None:
        known = {name: bill for name, bill in self.model.bills.items() if bill.is_known}
        rows = {row.bill_id: row for row in BillRow.objects.all()}
        assert {
            name: (row.is_open, row.locked_quantities, row.paid_quantities, row.left or {})
            for name, row in rows.items()
        } == {name: (bill.is_open, bill.locked, bill.paid, bill.left) for name, bill in known.items()}

    def _every_event_is_as_it_was_answered(self) -> None:
        rows = WebhookEvent.objects.values_list("event_id", "state", "status")
        assert {name: (state, status) for name, state, status in rows if state in {"handled", "failed"}} == {
            letter.id: (letter.state, letter.status) for letter in self.letters if letter.state in {"handled", "failed"}
        }

    def _the_history_leads_to_the_state(self) -> None:
        steps = PaymentStep.objects.order_by("pk").values_list("payment__payment_id", "before", "state")
        taken: dict[str, list[str]] = {}
        for name, before, state in steps:
            history = taken.setdefault(name, [])
            assert before == (history[-1] if history else "")
            history.append(state)
        assert taken == {name: payment.history for name, payment in self.model.payments.items()}

    def _nothing_is_sold_twice(self) -> None:
        """The promise itself, by what was ordered and paid in truth: where Qerko breaks it, a person hears of it."""
        for name, bill in self.model.bills.items():
            paid = [
                payment for payment in self.model.payments.values() if payment.bill == name and payment.final == PAID
            ]
            assert len(self.model.in_progress(name)) <= 1
            if bill.is_blind or not bill.overpaid:
                continue
            # Only one that was cancelled before can have been paid beside another of the same items.
            assert any("cancelled" in payment.history for payment in paid)
            for item in bill.overpaid:
                assert any(payment.is_alarming for payment in paid if item in payment.items)

    def _every_promise_is_kept(self) -> None:
        promised = {
            letter.id for letter in self.letters if letter.is_promised and letter.state in {"handled", "failed"}
        }
        assert set(Reply.objects.values_list("event__event_id", flat=True)) >= promised


def _silently(act: Callable[[], Any]) -> None:
    """Do what no HTTP response comes of."""
    act()


def _said(letter: Letter) -> Any:
    """An answer in the model's words."""
    said = json.loads(letter.body)
    match letter.event:
        case "getBill":
            return _items([said])
        case "getTableContents":
            return _items(said)
    return said


def _items(said: list[Any]) -> dict[str, dict[str, Decimal]]:
    return {bill["id"]: {item["id"]: Decimal(item["quantity"]) for item in bill["items"]} for bill in said}
