"""What became of a question, and of a payment, turn by turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django_qerko.answers import Receipt
from django_qerko.sandbox import payments
from django_qerko.sandbox.conversation import Exchange, Finding
from django_qerko.sandbox.judgements import Judgement
from django_qerko.sandbox.payments import Payment
from django_qerko.sandbox.replies import Reply

#: A receipt with this delivery type comes later (protocol section 4, D).
POSTPONED: Final = "POSTPONED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A question and its answer, whichever way it came: in the exchange (200), or as a reply after it (202)."""

    exchange: Exchange
    reply: Reply | None = None

    @property
    def is_answered(self) -> bool:
        """Whether an answer came; an error is none, and silence is none."""
        if self.exchange.status == 202:
            return self.reply is not None and not self.reply.is_error
        return self.exchange.is_answered

    @property
    def answer(self) -> Any:
        """The decoded JSON of the answer, or of the error."""
        if self.exchange.status == 202:
            return self.reply.answer if self.reply else None
        return self.exchange.answer

    @property
    def error_code(self) -> str | None:
        return self.reply.error_code if self.reply else self.exchange.error_code

    @property
    def milliseconds(self) -> float:
        """From the delivery to the answer."""
        return self.exchange.milliseconds + (self.reply.milliseconds or 0.0 if self.reply else 0.0)

    @property
    def findings(self) -> tuple[Finding, ...]:
        if self.reply:
            return self.exchange.findings + self.reply.findings
        if self.exchange.status == 202:
            return (*self.exchange.findings, Judgement.NO_REPLY())
        return self.exchange.findings


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentStory:
    """What became of a payment so far, turn by turn; a step gives a new story, which is longer."""

    payment: Payment
    turns: tuple[Turn, ...] = ()
    receipt: Receipt | None = None

    @property
    def state(self) -> str:
        return self.payment.state

    @property
    def is_paid(self) -> bool:
        return self.state == payments.PAID

    @property
    def has_receipt(self) -> bool:
        """Whether its receipt is there, and not only promised (``POSTPONED``)."""
        return self.receipt is not None and self.receipt.receipt_delivery_type != POSTPONED

    @property
    def is_receipt_promised(self) -> bool:
        """Whether its receipt comes later."""
        return self.receipt is not None and not self.has_receipt

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        return tuple(turn.exchange for turn in self.turns)

    @property
    def replies(self) -> tuple[Reply, ...]:
        return tuple(turn.reply for turn in self.turns if turn.reply)

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(finding for turn in self.turns for finding in turn.findings)
