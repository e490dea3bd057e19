"""What a guest does on a phone: pay a bill step by step, each of which may take the point of sale 15 seconds."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from typing import Final

from django_qerko.answers import Bill
from django_qerko.sandbox.choosing import Choice, NotPossible
from django_qerko.sandbox.moments import Ending, Moment, Phase
from django_qerko.sandbox.payments import Payment
from django_qerko.sandbox.qerko import PaymentStory, PointOfSale, Qerko
from django_qerko.sandbox.reading import read

log: Final = logging.getLogger(__name__)

#: How long a guest may think before Qerko cancels the payment, in seconds (A).
PATIENCE: Final = 300.0
#: How long a postponed receipt is asked for (protocol section 4, D), and the first pause, in seconds; each is twice as
#: long as the one before (A for the figures, D that they grow).
ASKS_FOR: Final = 24 * 3600.0
FIRST_PAUSE: Final = 5.0
#: How often it is looked whether the point of sale cancelled the payment meanwhile, in seconds.
_LOOKS_EVERY: Final = 0.2
#: Older visits are forgotten.
REMEMBERED: Final = 1_000


class Visit:
    """One payment of one guest, in a thread of its own."""

    def __init__(
        self,
        qerko: Qerko,
        pos: PointOfSale,
        bill_id: str,
        choice: Choice,
        *,
        id_: str,
        patience: float,
        first_pause: float,
    ) -> None:
        self.id = id_
        self.pos = pos
        self.bill_id = bill_id
        self.choice = choice
        self.now = Moment(since=time.monotonic())
        self._qerko = qerko
        self._patience = patience
        self._first_pause = first_pause
        self._changed = threading.Condition()
        self._is_impatient = self._is_left_alone = False

    def begin(self) -> None:
        """Ask for the bill again, have the payment started, and go on as it is decided."""
        threading.Thread(target=self._carefully, name=f"visit-{self.id}", daemon=True).start()

    def decide(self, ending: Ending) -> None:
        """Say how a payment that has started goes on; what was decided already stays so."""
        with self._changed:
            if self.now.phase is Phase.DECIDING:
                # At once, so that the next page is not the last one again.
                self._become(ending=ending, phase=Phase.PROCESSING if ending is Ending.CONFIRM else Phase.CLOSING)

    def ask_receipt(self) -> None:
        """Ask for a receipt that was postponed, and do not wait for the end of the pause."""
        with self._changed:
            if self.now.phase is Phase.AWAITING:
                self._is_impatient = True
                self._become(phase=Phase.FETCHING)

    def leave_alone(self) -> None:
        """The sandbox closes: wait for no guest any more, and tell nobody."""
        with self._changed:
            self._is_left_alone = True
            self._changed.notify_all()

    def _carefully(self) -> None:
        try:
            self._pay()
        except Exception:
            log.exception("Payment %s could not go on", self.id)
            self._become(phase=Phase.OVER, problem="problem_broke")

    def _pay(self) -> None:
        bill = self._ask_bill()
        story = self._start(bill) if bill else None
        if story is None:
            self._become(phase=Phase.OVER)
            return
        if story.payment.is_in_progress:
            self._become(phase=Phase.DECIDING, story=story)
            if not self._is_decided(story.payment):
                return
            story = self._go_on(story)
        self._become(phase=Phase.CLOSING, story=story)
        self._fetch_receipt(self._qerko.close_payment(story, asks_for_receipt=False))

    def _ask_bill(self) -> Bill | None:
        """The bill as it is now: Qerko asks for it before a payment (protocol section 4, S)."""
        turn = self._qerko.ask_and_wait(self.pos, "getBill", {"billId": self.bill_id, "customerId": None})
        found = next(iter(read("getBill", turn.answer).structures), None) if turn.is_answered else None
        bill = found if isinstance(found, Bill) else None
        self._become(bill=bill, turns=(turn,))
        return bill

    def _start(self, bill: Bill) -> PaymentStory | None:
        try:
            order = self.choice.order(bill)
        except NotPossible as impossible:
            self._become(problem=impossible.phrase)
            return None
        self._become(phase=Phase.STARTING)
        try:
            return self._qerko.start_payment(
                self.pos,
                bill,
                items=order.items,
                tip=order.tip,
                discount=order.with_discount,
                payment_id=self.id,
            )
        except ValueError:
            # Qerko never has two payments in progress on one bill (protocol section 2, D).
            self._become(problem="problem_busy")
            return None

    def _is_decided(self, payment: Payment) -> bool:
        """Wait for the guest, the clock or the point of sale. Nothing is decided where the sandbox closes."""
        until = time.monotonic() + self._patience
        with self._changed:
            while self.now.ending is None:
                if self._is_left_alone:
                    return False
                known = self._qerko.find_payment(self.pos, payment.id)
                if known and not known.is_in_progress:
                    self.decide(Ending.CANCELLED)
                elif time.monotonic() > until:
                    self.decide(Ending.LATE)
                else:
                    self._changed.wait(_LOOKS_EVERY)
        return True

    def _go_on(self, story: PaymentStory) -> PaymentStory:
        """Move the money where the guest wants it and the bank lets them; otherwise nothing moves."""
        if self.now.ending is Ending.CONFIRM:
            return self._qerko.process_payment(story)
        return replace(story, payment=self._qerko.cancel_payment(story.payment))

    def _fetch_receipt(self, story: PaymentStory) -> None:
        """Ask for a postponed receipt again and again, with growing pauses, or when the guest wants it."""
        until, pause = time.monotonic() + ASKS_FOR, self._first_pause
        while story.is_paid and not story.has_receipt and time.monotonic() < until:
            self._become(phase=Phase.AWAITING, story=story)
            with self._changed:
                self._changed.wait_for(lambda: self._is_impatient or self._is_left_alone, pause)
                if self._is_left_alone:
                    return
                self._is_impatient = False
                self._become(phase=Phase.FETCHING)
            story = self._qerko.ask_receipt(story)
            pause *= 2
        self._become(phase=Phase.OVER, story=story)

    def _become(self, **changes: object) -> None:
        with self._changed:
            if "phase" in changes:
                changes["since"] = time.monotonic()
            self.now = replace(self.now, number=self.now.number + 1, **changes)  # type: ignore[arg-type]
            self._changed.notify_all()


class Visits:
    """The visits of a sandbox, by the ids of their payments. Safe to use from several threads."""

    def __init__(self, *, patience: float = PATIENCE, first_pause: float = FIRST_PAUSE) -> None:
        self._patience = patience
        self._first_pause = first_pause
        self._lock = threading.Lock()
        self._visits: dict[str, Visit] = {}

    def begin(self, qerko: Qerko, pos: PointOfSale, bill_id: str, choice: Choice, *, id_: str) -> Visit:
        """Begin a visit; one that has this id already is found, so that a form that is sent twice pays once."""
        with self._lock:
            visit = self._visits.get(id_)
            if visit is not None:
                return visit
            visit = Visit(qerko, pos, bill_id, choice, id_=id_, patience=self._patience, first_pause=self._first_pause)
            self._visits[id_] = visit
            if len(self._visits) > REMEMBERED:
                del self._visits[next(iter(self._visits))]
        visit.begin()
        return visit

    def find(self, pos: PointOfSale, id_: str) -> Visit | None:
        """A visit to this restaurant."""
        with self._lock:
            visit = self._visits.get(id_)
        return visit if visit and visit.pos is pos else None

    def close(self) -> None:
        """Wait for no guest any more."""
        with self._lock:
            for visit in self._visits.values():
                visit.leave_alone()
