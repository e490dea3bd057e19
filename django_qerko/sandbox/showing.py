"""What a phone shows of a payment: what is happening, how it ended and why, and the receipt."""

from __future__ import annotations

import time
from dataclasses import dataclass

from django_qerko.sandbox import payments
from django_qerko.sandbox.moments import Ending, Moment, Phase
from django_qerko.sandbox.payments import Payment
from django_qerko.sandbox.receipts import Printed, printed
from django_qerko.sandbox.refusals import Refusal, refusal, unreadable
from django_qerko.sandbox.slips import Line, lines
from django_qerko.sandbox.speaking import Language
from django_qerko.sandbox.stories import PaymentStory, Turn
from django_qerko.sandbox.telling import hidden
from django_qerko.sandbox.visits import Visit


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What is paid, item by item."""

    lines: tuple[Line, ...]
    discount_name: str
    discount: str
    tip: str
    total: str


class Shown:
    """A visit as it is now, in a guest's words, for a template."""

    def __init__(self, visit: Visit, language: Language) -> None:
        self.id = visit.id
        self.bill_id = visit.bill_id
        self._now: Moment = visit.now
        self._language = language
        self.number = str(self._now.number)

    @property
    def heading(self) -> str:
        if self.is_paid:
            return self._language.say("paid")
        if self.is_unpaid:
            return self._language.say("not_paid")
        return self._language.say("your_payment" if self.may_decide else "one_moment")

    @property
    def progress(self) -> str:
        """What Qerko is doing; nothing where it waits for the guest, or is done."""
        return self._language.say(f"phase_{self._now.phase}") if self._now.is_in_progress else ""

    @property
    def seconds(self) -> str:
        """For how long it has been doing that."""
        return str(int(time.monotonic() - self._now.since))

    @property
    def is_live(self) -> bool:
        """Whether something may still change by itself."""
        return self._now.phase is not Phase.OVER

    @property
    def is_done(self) -> bool:
        """Whether the guest may go: at most a receipt is still waited for."""
        return self._now.phase in {Phase.AWAITING, Phase.OVER}

    @property
    def may_decide(self) -> bool:
        return self._now.phase is Phase.DECIDING

    @property
    def is_paid(self) -> bool:
        story = self._now.story
        return self._has_ended and story is not None and story.state in {payments.PROCESSED, payments.PAID}

    @property
    def is_unpaid(self) -> bool:
        return self._has_ended and not self.is_paid

    @property
    def reason(self) -> str:
        """Why nothing was paid, where it was not the point of sale that refused."""
        if self._now.problem:
            return self._language.say(self._now.problem)
        if self._now.ending in {Ending.REFUSE, Ending.LEAVE, Ending.LATE}:
            return self._language.say(f"ended_{self._now.ending}")
        # With no other reason it can only have been cancelled, which a point of sale may do at any time.
        return "" if self.refusal else self._language.say("ended_cancelled")

    @property
    def money(self) -> str:
        """What became of the money of a payment that was cancelled."""
        story = self._now.story
        has_moved = story is not None and payments.PROCESSED in story.payment.history
        return self._language.say("money_back" if has_moved else "no_money")

    @property
    def refusal(self) -> Refusal | None:
        """What went wrong at the point of sale before the payment was over."""
        asked = (turn for turn in self._turns if turn.exchange.event not in {"paymentClosed", "getPostponedReceipt"})
        for turn in asked:
            if said := refusal(turn, self._language):
                return said
        return unreadable(self._language) if self._is_misunderstood else None

    @property
    def unheard(self) -> Refusal | None:
        """What the point of sale said against the news of the end; it ended like this all the same."""
        return next((refusal(turn, self._language) for turn in self._turns_of("paymentClosed")), None)

    @property
    def no_receipt(self) -> Refusal | None:
        """What the point of sale said instead of a receipt that it had postponed, when it was asked last."""
        asked = self._turns_of("getPostponedReceipt")
        return refusal(asked[-1], self._language) if asked and not self.is_busy else None

    @property
    def was_asked_again(self) -> bool:
        return bool(self._turns_of("getPostponedReceipt")) and not self.is_busy

    @property
    def is_busy(self) -> bool:
        return self._now.is_in_progress

    @property
    def findings(self) -> list[str]:
        return [hidden(turn.exchange, str(finding)) for turn in self._turns for finding in turn.findings]

    @property
    def summary(self) -> Summary | None:
        return _summary(self._now.story.payment, self._language) if self._now.story else None

    @property
    def receipt(self) -> Printed | None:
        story = self._receipted
        if story is None or story.receipt is None or not story.has_receipt:
            return None
        return printed(story.receipt, story.payment.bill.currency, self._language)

    @property
    def is_postponed(self) -> bool:
        return self._receipted is not None and not self._receipted.has_receipt

    @property
    def is_by_email(self) -> bool:
        receipt = self._receipted.receipt if self._receipted else None
        return receipt is not None and receipt.receipt_delivery_type == "EMAIL"

    @property
    def _has_ended(self) -> bool:
        return self._now.phase in {Phase.CLOSING, Phase.AWAITING, Phase.FETCHING, Phase.OVER}

    @property
    def _receipted(self) -> PaymentStory | None:
        """The story, where its payment is paid."""
        return self._now.story if self.is_paid else None

    @property
    def _turns(self) -> tuple[Turn, ...]:
        return self._now.turns + (self._now.story.turns if self._now.story else ())

    @property
    def _is_misunderstood(self) -> bool:
        """An answer came, and there is no bill, or no receipt, in it."""
        if self._now.problem or not self.is_unpaid:
            return False
        story = self._now.story
        return story is None or (payments.PROCESSED in story.payment.history and story.receipt is None)

    def _turns_of(self, event: str) -> list[Turn]:
        return [turn for turn in self._turns if turn.exchange.event == event]


def _summary(payment: Payment, language: Language) -> Summary:
    discount = payment.discount
    return Summary(
        lines=lines(payment.items, language),
        discount_name=discount.name if discount else "",
        discount=language.amount(-discount.value) if discount else "",
        tip=language.amount(payment.tip) if payment.tip else "",
        total=language.money(payment.total, payment.bill.currency),
    )
