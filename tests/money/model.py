"""What must come of each thing that Qerko says, in plain words and plain dicts: nothing of it is the app's own code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, NamedTuple

#: How much of which item.
Amounts = dict[str, Decimal]

PAID = "PAID"
POSTPONED = "POSTPONED"
IN_PROGRESS = ("started", "processed")


class Mood(NamedTuple):
    """What the handlers do, if they are asked: ``accept``, ``refuse``, ``break`` or, of a receipt, be ``silent``."""

    word: str = "accept"
    #: What they give as a receipt.
    receipt: Any = None


ACCEPT = Mood()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What comes of one event: HTTP's status, the answer where it is 200, and what else is seen of it."""

    status: int = 200
    said: Any = None
    #: Whether the record is ``handled``, and will never be handled again.
    is_final: bool = True
    is_asked: bool = False
    #: Whether a person finds an error in the log.
    is_alarming: bool = False
    #: Whether Qerko is to be asked about the payment.
    wants_news: bool = False


NULL = Outcome()
REFUSED = Outcome(status=422)
#: The same, after the handlers were asked.
ACCEPTED_BY_HANDLERS = Outcome(is_asked=True)
REFUSED_BY_HANDLERS = Outcome(status=422, is_asked=True)
BROKEN = Outcome(status=500, is_final=False, is_asked=True, is_alarming=True)
SILENT = Outcome(status=422, is_final=False, is_asked=True, is_alarming=True)


@dataclass(kw_only=True)
class Bill:
    """One bill as the restaurant has it (``ordered``), as Qerko was told, and what is paid."""

    ordered: Amounts = field(default_factory=dict)
    told: Amounts | None = None
    paid_when_told: Amounts = field(default_factory=dict)
    paid: Amounts = field(default_factory=dict)
    locked: Amounts = field(default_factory=dict)
    is_known: bool = False
    is_open: bool = True
    #: Whether a payment wanted to begin before Qerko was told: then nobody could judge it.
    is_blind: bool = False

    @property
    def unpaid(self) -> Amounts:
        """What is still to be paid in truth."""
        return {item: left for item, left in less(self.ordered, self.paid).items() if left > 0}

    @property
    def left(self) -> Amounts:
        """What is still to be paid as far as Qerko was told."""
        since = less(self.paid, self.paid_when_told)
        return {item: max(left, Decimal(0)) for item, left in less(self.told or {}, since).items()}

    @property
    def overpaid(self) -> set[str]:
        """The items of which more is paid than was ever ordered."""
        return {item for item, paid in self.paid.items() if paid > self.ordered.get(item, 0)}


@dataclass(kw_only=True)
class Payment:
    """One payment, and every state that it was in."""

    bill: str
    content: Any
    items: Amounts
    #: How much of its items stood on the bill when it began.
    stood: Amounts
    history: list[str]
    final: str = ""
    receipt: Any = None
    is_alarming: bool = False
    #: Whether another wanted to begin on its bill.
    is_overtaken: bool = False
    is_old: bool = False
    #: Whether Qerko is to be asked about it.
    is_due: bool = False

    @property
    def state(self) -> str:
        return self.history[-1]

    @property
    def is_in_progress(self) -> bool:
        return self.state in IN_PROGRESS

    @property
    def is_postponed(self) -> bool:
        return self.receipt is None or self.receipt["receiptDeliveryType"] == POSTPONED


def _unknown(mood: Mood) -> Outcome:
    """Handlers may know a payment that the app does not; this till knows none."""
    return BROKEN if mood.word == "break" else REFUSED_BY_HANDLERS


def less(some: Mapping[str, Decimal], other: Mapping[str, Decimal]) -> Amounts:
    return {item: quantity - other.get(item, 0) for item, quantity in some.items()}


def sums(pairs: Iterable[tuple[str, Decimal]]) -> Amounts:
    """How much of each item that may be named several times."""
    result: Amounts = {}
    for item, quantity in pairs:
        result[item] = result.get(item, Decimal(0)) + quantity
    return result


def _content(told: Any) -> Any:
    items = [(item["id"], item["quantity"], item["price"]) for item in told["items"]]
    return told["idBill"], told["currency"], items, [part["total"] for part in told["parts"]]


@dataclass(kw_only=True)
class Model:
    """A restaurant's money. ``hear`` says what must come of an event, and remembers it."""

    bills: dict[str, Bill]
    tables: dict[str, list[str]]
    prices: Amounts
    #: Whether handlers return all that was ever ordered, and the app takes off what was paid.
    is_net: bool
    refuses_contradictions: bool
    payments: dict[str, Payment] = field(default_factory=dict)
    #: Payments that came to nothing, be it that nobody has handled that yet.
    ended: set[str] = field(default_factory=set)
    #: The bill on which each payment was said to start, be it that it never did.
    announced: dict[str, str] = field(default_factory=dict)

    def hear(self, event: str, data: Any, mood: Mood) -> Outcome:
        self.learn(event, data)
        outcome: Outcome = getattr(self, f"_{event}")(data, mood)
        return outcome

    def learn(self, event: str, data: Any) -> None:
        """What is known of an event that was only noted."""
        if event == "paymentStart":
            self.announced[data["payment"]["id"]] = data["payment"]["idBill"]
        if event == "paymentClosed" and data["state"] != PAID:
            self.ended.add(data["paymentId"])

    def in_progress(self, bill: str) -> list[Payment]:
        return [payment for payment in self.payments.values() if payment.bill == bill and payment.is_in_progress]

    # -- Bills ---------------------------------------------------------------------------------------

    def _getBill(self, data: Any, mood: Mood) -> Outcome:  # noqa: N802
        if mood.word == "break":
            return BROKEN
        bill = self.bills.get(data["billId"])
        if mood.word == "refuse" or bill is None or not bill.ordered:
            return REFUSED_BY_HANDLERS
        if not bill.unpaid:
            bill.is_open = bill.is_open and not bill.is_known
            return REFUSED_BY_HANDLERS
        return Outcome(said={data["billId"]: self.tell(bill, bill.unpaid, bill.paid)}, is_asked=True)

    def _getTableContents(self, data: Any, mood: Mood) -> Outcome:  # noqa: N802
        if mood.word == "break":
            return BROKEN
        if mood.word == "refuse":
            return REFUSED_BY_HANDLERS
        bills = {name: self.bills[name] for name in self.tables[data["tableId"]]}
        if self.is_net:
            for bill in bills.values():
                bill.is_open = bill.is_open and not (bill.is_known and not bill.unpaid)
        told = {name: self.tell(bill, bill.unpaid, bill.paid) for name, bill in bills.items() if bill.unpaid}
        return Outcome(said=told, is_asked=True)

    @staticmethod
    def tell(bill: Bill, shown: Amounts, paid: Amounts) -> Amounts:
        """Qerko is told of these items, as they were when so much was paid."""
        bill.told, bill.paid_when_told, bill.is_known = dict(shown), dict(paid), True
        bill.is_open = bill.is_open or any(bill.left.values())
        return shown

    # -- Payments ------------------------------------------------------------------------------------

    def _paymentStart(self, data: Any, mood: Mood) -> Outcome:  # noqa: N802
        told = data["payment"]
        known = self.payments.get(told["id"])
        if known is not None:
            return NULL if known.content == _content(told) and known.state != "cancelled" else REFUSED
        payment, bill = self._new(told)
        occupants = self.in_progress(told["idBill"])
        is_refused = bool(occupants) or self._must_not_begin(told, bill, payment.items)
        if not is_refused and mood.word == "break":
            return BROKEN
        self._enter(told, payment, bill)
        for occupant in occupants:
            occupant.is_overtaken = occupant.is_due = True
        if is_refused:
            payment.history = ["cancelled"]
            return REFUSED
        if mood.word == "refuse":
            payment.history += ["cancelled"]
            return REFUSED_BY_HANDLERS
        bill.locked = payment.items
        return ACCEPTED_BY_HANDLERS

    def _new(self, told: Any) -> tuple[Payment, Bill]:
        bill = self.bills.get(told["idBill"], Bill())
        items = sums((item["id"], Decimal(item["quantity"])) for item in told["items"])
        stood = {item: bill.left.get(item, Decimal(0)) + bill.paid.get(item, Decimal(0)) for item in items}
        payment = Payment(
            bill=told["idBill"],
            content=_content(told),
            items=items,
            stood=stood if bill.told is not None else {},
            history=["started"],
        )
        return payment, bill

    def _enter(self, told: Any, payment: Payment, bill: Bill) -> None:
        bill.is_known, bill.is_blind = True, bill.is_blind or bill.told is None
        self.bills[told["idBill"]], self.payments[told["id"]] = bill, payment

    def _must_not_begin(self, told: Any, bill: Bill, items: Amounts) -> bool:
        if told["id"] in self.ended or not items or not all(items.values()):
            return True
        if bill.told is not None and (
            not bill.is_open
            or told["currency"] != "CZK"
            or any(quantity > bill.left.get(item, 0) for item, quantity in items.items())
        ):
            return True
        return self.refuses_contradictions and self.contradicts(told, bill)

    def contradicts(self, told: Any, bill: Bill) -> bool:
        """Whether the parts are not the sum of the items, or a price is another than Qerko was told."""
        sum_of_items = sum(Decimal(item["price"]) * Decimal(item["quantity"]) for item in told["items"])
        is_dear = any(Decimal(item["price"]) != self.prices[item["id"]] for item in told["items"])
        return (bill.told is not None and is_dear) or sum_of_items != Decimal(told["parts"][0]["total"])

    def _paymentProcessed(self, data: Any, mood: Mood) -> Outcome:  # noqa: N802
        payment = self.payments.get(data["paymentId"])
        if payment is None:
            return _unknown(mood)
        if payment.state == "cancelled":
            return REFUSED
        is_given = payment.receipt is not None
        if not is_given and mood.word in {"break", "silent"}:
            return BROKEN if mood.word == "break" else SILENT
        if not is_given and mood.word == "refuse":
            if payment.is_in_progress:
                self.cancel(payment)
            return REFUSED_BY_HANDLERS
        if not is_given:
            payment.receipt = mood.receipt
        if payment.state == "started":
            payment.history += ["processed"]
        return Outcome(said=payment.receipt, is_asked=not is_given)

    def _paymentClosed(self, data: Any, mood: Mood) -> Outcome:  # noqa: N802
        payment, is_paid = self.payments.get(data["paymentId"]), data["state"] == PAID
        if payment is None:
            return self._close_unknown(data["paymentId"], mood, is_paid=is_paid)
        if payment.state == "paid":
            return replace(NULL, is_alarming=not is_paid)
        if payment.final and not is_paid:
            return NULL
        if mood.word == "break":
            return BROKEN
        if is_paid:
            self.settle(payment)
        elif payment.is_in_progress:
            self.cancel(payment, data["state"])
        else:
            payment.final = data["state"]
        return replace(ACCEPTED_BY_HANDLERS, is_alarming=is_paid and payment.is_alarming)

    def _close_unknown(self, payment: str, mood: Mood, *, is_paid: bool) -> Outcome:
        if mood.word == "break":
            return BROKEN
        if payment in self.announced:
            # It is waited for there, so that its bill has a row from now on.
            self.bills.setdefault(self.announced[payment], Bill()).is_known = True
        return replace(REFUSED_BY_HANDLERS, is_alarming=True, wants_news=True) if is_paid else ACCEPTED_BY_HANDLERS

    def _getPostponedReceipt(self, data: Any, mood: Mood) -> Outcome:  # noqa: N802
        payment = self.payments.get(data["paymentId"])
        if payment is None or payment.state == "cancelled":
            return REFUSED if payment else _unknown(mood)
        if not payment.is_postponed:
            return Outcome(said=payment.receipt)
        if mood.word == "accept":
            payment.receipt = mood.receipt
        elif mood.word != "silent" or payment.receipt is None:
            return {"break": BROKEN, "refuse": REFUSED_BY_HANDLERS, "silent": SILENT}[mood.word]
        return Outcome(said=payment.receipt, is_asked=True)

    # -- Steps ---------------------------------------------------------------------------------------

    def provide(self, payment: Payment, receipt: Any) -> bool:
        """The till hands in a receipt; ``False`` where none is wanted."""
        if payment.state == "cancelled" or not payment.is_postponed:
            return False
        payment.receipt = receipt
        return True

    def settle(self, payment: Payment) -> None:
        bill = self.bills[payment.bill]
        ever = sums([*bill.paid.items(), *payment.items.items()])
        is_too_much = any(ever[item] > stood for item, stood in payment.stood.items())
        payment.is_alarming = payment.state == "cancelled" or is_too_much
        if payment.is_in_progress:
            bill.locked = {}
        bill.paid = {item: quantity for item, quantity in ever.items() if quantity}
        payment.final = PAID
        payment.history += ["paid"]
        if bill.told is not None and not any(bill.left.values()):
            bill.is_open = False

    def cancel(self, payment: Payment, final: str = "") -> None:
        self.bills[payment.bill].locked = {}
        payment.history += ["cancelled"]
        payment.final = final

    # -- Asking Qerko --------------------------------------------------------------------------------

    def hear_asked(self, payment_id: str, said: str | None, *, by_hand: bool) -> str | None:
        """Qerko was asked about a payment in progress (``None``: it knows of none): with which word it ends, if any."""
        payment = self.payments[payment_id]
        if said == PAID:
            return PAID
        if (payment.is_old and payment.is_overtaken) or (said is None and (payment.is_old or by_hand)):
            return said or "NOT_FOUND"
        return None

    def enter_unstarted(self, told: Any) -> None:
        """Qerko says ``PAID`` of a payment that never started here: it stands in the book as one that was cancelled."""
        if told["id"] not in self.payments:
            payment, bill = self._new(told)
            payment.history = ["cancelled"]
            self._enter(told, payment, bill)
