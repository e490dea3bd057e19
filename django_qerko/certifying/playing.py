"""What the rules share: the point of sale, its tables and bills as they were found, and what was paid."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from django_qerko.answers import Bill, Table
from django_qerko.certifying.examining import Examiner
from django_qerko.certifying.parts import Part, left_of, part_of
from django_qerko.certifying.verdicts import Broken, NotTried, Refused, Verdict
from django_qerko.certifying.wording import listed, told
from django_qerko.sandbox.conversation import Exchange, Finding, PointOfSale
from django_qerko.sandbox.judgements import Judgement
from django_qerko.sandbox.misbehaving import Manners
from django_qerko.sandbox.payments import PAID, Payment
from django_qerko.sandbox.qerko import PaymentStory, Reply, Turn
from django_qerko.sandbox.reading import read
from django_qerko.tending import legible

#: An answer that cannot be read.
UNREADABLE: Final = (Judgement.NO_JSON, Judgement.ANSWER_FORM)
#: The events of a payment, in their order.
STEPS: Final = ("paymentStart", "paymentProcessed", "paymentClosed")
#: What is said of a bill on which nothing is left to pay.
_GONE: Final = {"BILL_CLOSED", "BILL_NOT_FOUND"}
#: With which a payment is refused while another is in progress on its bill.
_BUSY: Final = "ACCESS_DENIED"
#: With which an event is refused that nobody answers, and what to do where somebody must.
_NOBODYS: Final = "NO_SUCH_METHOD"
_NOBODY_ANSWERED: Final = (
    "No handler answered. With django_qerko: is the module with the receivers imported in AppConfig.ready(), and does"
    " the receiver of this event return an answer?"
)
#: What to do where there is nothing to pay, or not enough of it.
OPEN_BILLS: Final = (
    "In process, name a --fixture and fill the test database: a few bills with several pieces of something on each."
    " With --url, open a few such bills."
)
_END_PAYMENTS: Final = (
    "If another payment is in progress on each bill, end it (with django_qerko: qerko_reconcile), or open other bills."
)
#: How long the last replies have time to come, and the second one to what was delivered again, in seconds, and how
#: often somebody looks.
_A_MOMENT: Final = 0.5
_SECOND_REPLY: Final = 2.0
_LOOKS_EVERY: Final = 0.02
#: No more of what was seen is told of a rule.
_LONGEST: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """A part of a bill, and what became of its payment."""

    part: Part
    story: PaymentStory

    def turn(self, event: str) -> Turn | None:
        """The turn of an event, if the payment came as far as that."""
        return next((turn for turn in self.story.turns if turn.exchange.event == event), None)


class Play:
    """One certification of one point of sale; each rule is tried at most once in it, and its verdict is kept."""

    def __init__(self, qerko: Examiner, pos: PointOfSale, *, api_url: str) -> None:
        self.qerko = qerko
        self.pos = pos
        self.api_url = api_url
        self.verdicts: dict[str, Verdict] = {}
        #: The names of the rules that kept another one from being tried.
        self.blamed: set[str] = set()
        self.tables: list[Table] = []
        #: The bills that were found, by id, and the table of each.
        self.bills: dict[str, Table] = {}
        #: Errors that were wanted.
        self.refusals: list[Turn] = []
        #: Deliveries that were turned away as they should be.
        self.turned_away: list[Exchange] = []
        self.paid: list[Paid] = []
        #: The bills on which somebody else seems to be paying.
        self._busy: set[str] = set()
        self._looked_at: Counter[str] = Counter()
        self._first: Paid | None = None

    def legible(self, text: str) -> str:
        """Strangers' words on one line, without the API key, and not too many."""
        text = legible.line(text.replace(self.pos.api_key.reveal(), self.pos.api_key.shown))
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"

    # -- Asking ------------------------------------------------------------------------------------

    def ask(self, event: str, data: object = None, **how: Any) -> Turn:
        """Ask, and wait for the answer, whichever way it comes. Raises NotTried where it is too late."""
        return self.qerko.ask_and_wait(self.pos, event, data, **how)

    def answered(self, event: str, data: object = None, **how: Any) -> Turn:
        """Ask for something that must be answered. Raises Broken for an error, NotTried where no reply comes."""
        turn = self.ask(event, data, **how)
        self.require_reply(turn)
        if not turn.is_answered:
            raise broken(turn)
        return turn

    def require_reply(self, turn: Turn) -> None:
        """Raises NotTried where no reply came to a 202; there is a rule for that."""
        self.qerko.require_patience(turn.exchange.event if turn.exchange.status == 202 and not turn.reply else "")

    def require_form(self, turn: Turn) -> None:
        """Raises Broken where Qerko cannot read an answer."""
        if faults := findings_of(turn.findings, *UNREADABLE):
            raise Broken(f"{turn.exchange.event}: {listed(faults)}")

    def require_error(self, turn: Turn, *codes: str) -> str:
        """What was said, where it is an error, with one of these codes if any are named. Raises Broken otherwise."""
        self.require_reply(turn)
        if not is_refused(turn):
            raise Broken(told(turn))
        if codes and turn.error_code not in codes:
            raise Broken(f"{told(turn)}, and not {' or '.join(codes)}")
        self.refusals.append(turn)
        return told(turn)

    def findings(self, *judgements: Judgement) -> list[Finding]:
        """What was found in all that was heard so far."""
        heard = tuple(self.qerko.heard)
        return findings_of(tuple(finding for said in heard for finding in said.findings), *judgements)

    @contextmanager
    def with_unknown_members(self) -> Iterator[None]:
        """Say what nobody knows in every object."""
        self.qerko.misbehaviour.manners = Manners(unknown_members=True)
        try:
            yield
        finally:
            self.qerko.misbehaviour.manners = Manners()

    # -- Bills -------------------------------------------------------------------------------------

    def look(self, bill_id: str) -> Bill | None:
        """A bill as it is now; ``None`` where it is closed. Raises Broken for another error, and for another bill."""
        turn = self.ask("getBill", {"billId": bill_id, "customerId": None})
        self.require_reply(turn)
        if turn.error_code in _GONE:
            return None
        if not turn.is_answered:
            raise broken(turn)
        self.require_form(turn)
        (bill,) = read("getBill", turn.answer).structures
        if isinstance(bill, Bill) and bill.id != bill_id:
            raise Broken(f"getBill of {bill_id} is answered with the bill {bill.id}")
        return bill if isinstance(bill, Bill) else None

    def part(self, *, steps: int = 1) -> Part:
        """The smallest part of a bill that few have paid of, if possible of an item that has so many steps.

        Raises NotTried where nothing is left to pay on any bill.
        """
        best: Part | None = None
        free = [bill_id for bill_id in self.bills if bill_id not in self._busy] or [*self.bills]
        for bill_id in sorted(free, key=lambda known: self._looked_at[known]):
            bill = self.look(bill_id)
            part = part_of(bill) if bill else None
            if part and (best is None or part.steps > best.steps):
                best = part
            if best and best.steps >= steps:
                break
        if best is None:
            raise NotTried("nothing is left to pay on any bill that was found", cure=OPEN_BILLS)
        self._looked_at[best.bill.id] += 1
        return best

    def require_left(self, part: Part, expected: Decimal, when: str) -> str:
        """Say how much of an item is left on its bill. Raises Broken where it is another quantity than expected."""
        bill = self.look(part.bill.id)
        left = left_of([bill] if bill else [], part.item.id)
        seen = f"of {part.before:f} × {part.item.name}, {left:f} are left {when}"
        if left != expected:
            raise Broken(f"{seen}, and not {expected:f}")
        return seen

    # -- Payments ----------------------------------------------------------------------------------

    def begin(self, part: Part, **how: Any) -> PaymentStory:
        """Begin to pay. Raises Refused where it is refused, and tells how it ended."""
        self.qerko.require_patience("paymentStart")
        story = self.qerko.start_payment(self.pos, part.bill, **{"items": part.items, **how})
        turn = story.turns[-1]
        self.require_reply(turn)
        if not turn.is_answered:
            self.end(story)
            is_busy = self._note_busy(part, turn)
            raise Refused(f"a payment could not begin: {told(turn)}", cure=_END_PAYMENTS if is_busy else "")
        return story

    def begin_first(self) -> tuple[Part, PaymentStory]:
        """Begin to pay on the first bill on which nobody else does. Raises Refused where it is refused."""
        while True:
            part = self.part()
            try:
                return part, self.begin(part)
            except Refused:
                if not self._is_better_elsewhere(part):
                    raise

    def end(self, story: PaymentStory) -> PaymentStory:
        """Tell how a payment ended; one that is in progress is cancelled."""
        self.qerko.cancel_payment(story.payment)
        return self.qerko.close_payment(story)

    @contextmanager
    def beginning(self, part: Part, **how: Any) -> Iterator[PaymentStory]:
        """Begin to pay, and have the payment end with this, cancelled unless it is over."""
        story = self.begin(part, **how)
        try:
            yield story
        finally:
            latest = self.qerko.find_payment(self.pos, story.payment.id) or story.payment
            if latest.is_in_progress or not (latest.state == PAID or self._is_told(latest)):
                self.end(replace(story, payment=latest))

    def receipt(self, story: PaymentStory) -> PaymentStory:
        """Ask for the receipt. Raises NotTried where none comes that Qerko can read: there are rules for that."""
        story = self.qerko.process_payment(story)
        if story.receipt is None:
            raise NotTried(f"no receipt came: {told(story.turns[-1])}")
        return story

    def pay(self, part: Part, **how: Any) -> Paid:
        """Pay, from the beginning to the end, whatever becomes of it."""
        for event in STEPS:
            self.qerko.require_patience(event)
        paid = Paid(part=part, story=self.qerko.pay(self.pos, part.bill, items=part.items, **how))
        self.paid.append(paid)
        return paid

    def first_payment(self) -> Paid:
        """The first payment, which several rules look at. Raises NotTried where there is nothing to pay."""
        while self._first is None:
            paid = self.pay(self.part(steps=2))
            if not (self._note_busy(paid.part, paid.story.turns[0]) and self._is_better_elsewhere(paid.part)):
                self._first = paid
        return self._first

    def end_payments(self) -> None:
        """Tell the end of each payment of which none was told, so that no bill stays locked after this.

        For a reply is hardly waited: this is on the way out.
        """
        for payment in self.qerko.payments:
            if payment.is_in_progress or not self._is_told(payment):
                state = self.qerko.cancel_payment(payment).state
                exchange = self.qerko.ask(self.pos, "paymentClosed", {"paymentId": payment.id, "state": state})
                self.qerko.await_reply(exchange, _A_MOMENT)

    def again(self, turn: Turn) -> Turn:
        """Deliver the same event once more, and wait for its answer."""
        exchange = self.qerko.redeliver(turn.exchange)
        reply = self._newest_reply(exchange) if exchange.status == 202 else None
        return Turn(exchange=exchange, reply=reply or self.qerko.await_reply(exchange))

    def _newest_reply(self, exchange: Exchange) -> Reply | None:
        """A reply to this very delivery, if one comes in a moment: whoever replied before need not do it again."""
        give_up = time.monotonic() + _SECOND_REPLY
        while True:
            is_over = time.monotonic() >= give_up
            for letter in self.qerko.letters:
                if letter.number > exchange.number and letter.event_id == exchange.event_id:
                    return letter
            if is_over:
                return None
            time.sleep(_LOOKS_EVERY)

    def _note_busy(self, part: Part, turn: Turn) -> bool:
        """Whether a payment was refused because, it seems, another one is in progress on the bill."""
        is_busy = turn.error_code == _BUSY
        if is_busy:
            self._busy.add(part.bill.id)
        return is_busy

    def _is_better_elsewhere(self, part: Part) -> bool:
        """Whether this bill is busy, and another one may not be."""
        return part.bill.id in self._busy and not self.bills.keys() <= self._busy

    def _is_told(self, payment: Payment) -> bool:
        """Whether the point of sale heard of an end of this payment."""
        return any(
            said.event == "paymentClosed" and said.question is not None and payment.id in str(said.question.data)
            for said in self.qerko.exchanges
        )


def broken(turn: Turn) -> Broken:
    """What came instead of an answer that must be there."""
    return Broken(told(turn), cure=_NOBODY_ANSWERED if turn.error_code == _NOBODYS else "")


def is_refused(turn: Turn) -> bool:
    """Whether it was answered with an error of the domain, and the point of sale did not just break."""
    if turn.exchange.status == 202:
        return turn.reply is not None and turn.reply.is_error
    return turn.exchange.status is not None and 400 <= turn.exchange.status < 500


def findings_of(findings: tuple[Finding, ...], *judgements: Judgement) -> list[Finding]:
    """The findings of these judgements."""
    names = {judgement.name for judgement in judgements}
    return [finding for finding in findings if finding.judgement in names]
