"""Rules about payments: what must be given, what must be refused, and what is left on the bill."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Final

from django_qerko.answers import Bill, Receipt
from django_qerko.certifying.parts import left_of
from django_qerko.certifying.playing import STEPS, UNREADABLE, Paid, Play, broken, findings_of
from django_qerko.certifying.rules.asking import answers, bills, nobodys, unknown_bill, unknown_event, unknown_payment
from django_qerko.certifying.ruling import rule, try_rule
from django_qerko.certifying.verdicts import Broken, NotNeeded, NotTried, Outcome, Refused
from django_qerko.certifying.wording import listed, named, told
from django_qerko.sandbox.judgements import Judgement
from django_qerko.sandbox.qerko import PaymentStory, Turn
from django_qerko.sandbox.reading import read

#: A state of a payment that nobody knows (protocol section 4, D: whatever is not PAID means not paid).
_NOBODY_KNOWS: Final = "AS_NOBODY_KNOWS_IT"
#: How long a postponed receipt is asked for, and how often, in seconds; Qerko would do it for a day.
_POSTPONED_FOR: Final = 5.0
_ASKED_EVERY: Final = 0.5
_PROVIDE: Final = "Have the receipt ready sooner while this runs, or let it be made at once."
#: What is wrong with how a refusal is said.
_ILL_SAID: Final = (Judgement.NO_JSON, Judgement.ERROR_FORM, Judgement.UNKNOWN_CODE)


@rule(
    "A payment that is cancelled leaves its items to be paid again",
    section=4,
    cure="Unlock the items when paymentClosed comes with any state but PAID.",
    needs=(bills,),
)
def cancelled_again(play: Play) -> str:
    part, begun = play.begin_first()
    closed = play.end(begun).turns[-1]
    play.require_reply(closed)
    if not closed.is_answered:
        raise Broken(told(closed))
    seen = play.require_left(part, part.before, "after it was cancelled")
    try:
        with play.beginning(part):
            return seen
    except Refused as refused:
        raise Broken(f"the second time, {refused}") from refused


@rule(
    "A second payment on a bill is refused while one is in progress",
    section=5,
    cure="Lock the bill at paymentStart until paymentClosed, and refuse another payment meanwhile.",
    needs=(cancelled_again,),
)
def second_payment(play: Play) -> str:
    part = play.part(steps=2)
    with play.beginning(part):
        return _refused(play, part.bill, part.items, beside_another=True)


@rule(
    "More of an item than is left is refused",
    section=5,
    cure="Compare the quantities of paymentStart with what is left on the bill.",
    needs=(cancelled_again,),
)
def too_much(play: Play) -> str:
    part = play.part()
    return _refused(play, part.bill, part.too_much)


@rule(
    "What is not on the bill is refused",
    section=5,
    cure="Look for each item of paymentStart among those that are left on the bill.",
    needs=(cancelled_again,),
)
def not_on_the_bill(play: Play) -> str:
    part = play.part()
    stranger = part.item.model_copy(update={"id": nobodys()})
    bill = part.bill.model_copy(update={"items": [*part.bill.items, stranger]})
    return _refused(play, bill, {**part.items, stranger.id: part.items[part.item.id]})


@rule(
    "A payment in another currency than its bill's is refused",
    section=5,
    cure="Compare the currency of paymentStart with the bill's.",
    needs=(cancelled_again,),
)
def another_currency(play: Play) -> str:
    part = play.part()
    bill = part.bill.model_copy(update={"currency": "EUR" if part.bill.currency != "EUR" else "CZK"})
    return _refused(play, bill, part.items)


@rule(
    "A final state that nobody knows means not paid",
    section=4,
    cure="Settle a payment only where paymentClosed says PAID, and take every other state for not paid.",
    needs=(cancelled_again,),
)
def unknown_state(play: Play) -> str:
    part = play.part()
    with play.beginning(part) as begun:
        story = play.receipt(begun)
        closed = play.ask("paymentClosed", {"paymentId": story.payment.id, "state": _NOBODY_KNOWS})
        play.qerko.cancel_payment(story.payment)
    play.require_reply(closed)
    if not closed.is_answered:
        raise Broken(told(closed))
    return play.require_left(part, part.before, f"after {_NOBODY_KNOWS}")


@rule(
    "A payment goes from paymentStart to PAID",
    section=4,
    cure="Answer paymentStart and paymentClosed with null, and paymentProcessed with the receipt.",
    needs=(bills,),
)
def payment(play: Play) -> str:
    paid = play.first_payment()
    for turn in paid.story.turns:
        play.require_reply(turn)
        if not turn.is_answered:
            raise _unpaid(play, turn)
        # A receipt has a rule of its own.
        faults = findings_of(turn.findings, *UNREADABLE) if turn.exchange.event != STEPS[1] else []
        if faults:
            raise Broken(f"{turn.exchange.event}: {listed(faults)}")
    _require_paid(paid)
    return f"{paid.story.state}: {'; '.join(map(told, paid.story.turns))}"


@rule(
    "A receipt is complete",
    section=5,
    cure="Answer with a Receipt: every item that was paid with its price and the name of its tax, and each tax with"
    " rate, base and tax.",
    needs=(bills,),
)
def receipts(play: Play) -> str:
    paid = play.first_payment()
    turn = paid.turn("paymentProcessed")
    if turn is None or not turn.is_answered:
        raise NotTried(f"no receipt came: {told(turn or paid.story.turns[-1])}", cure=payment.cure)
    play.require_form(turn)
    story = _with_receipt(play, paid.story)
    if not story.has_receipt or story.receipt is None:
        raise NotTried(f"the receipt was still postponed after {_POSTPONED_FOR:g} seconds", cure=_PROVIDE)
    _require_complete(story.receipt)
    return (
        f"{named(len(story.receipt.items), 'line')}, {', '.join(f'{tax.rate:f} %' for tax in story.receipt.tax_info)}"
    )


@rule(
    "What was paid is never shown again",
    section=4,
    cure="Take what was paid off the bill before paymentClosed is answered. With django_qerko: in the handler of"
    ' payment_closed; or return all that was ordered, and QERKO["BILL_ITEMS"] = "ordered" takes off what was paid.',
    needs=(bills,),
)
def paid_items_gone(play: Play) -> str:
    paid = play.first_payment()
    _require_paid(paid)
    seen = play.require_left(paid.part, paid.part.after, "after it was paid")
    table = play.bills[paid.part.bill.id]
    turn = play.answered("getTableContents", {"tableId": table.id, "customerId": None})
    shown = [bill for bill in read("getTableContents", turn.answer).structures if isinstance(bill, Bill)]
    left = left_of([bill for bill in shown if bill.id == paid.part.bill.id], paid.part.item.id)
    if left != paid.part.after:
        raise Broken(
            f"on the table, {left:f} × {paid.part.item.name} are still to be paid, and not {paid.part.after:f}"
        )
    return seen


@rule(
    "A receipt that was postponed is there when it is asked for",
    section=4,
    cure="Answer getPostponedReceipt with the receipt as soon as there is one, and until then with POSTPONED.",
    needs=(payment,),
)
def postponed_receipts(play: Play) -> str:
    promised = next((paid for paid in play.paid if paid.story.is_paid and paid.story.is_receipt_promised), None)
    if promised is None:
        raise NotNeeded("no receipt was postponed")
    story = _with_receipt(play, promised.story)
    turn = story.turns[-1]
    play.require_reply(turn)
    if not turn.is_answered:
        raise Broken(told(turn))
    play.require_form(turn)
    if not story.has_receipt or story.receipt is None:
        raise NotTried(f"still postponed after {_POSTPONED_FOR:g} seconds", cure=_PROVIDE)
    _require_complete(story.receipt)
    return told(turn)


@rule(
    "A refusal has a status, a code and a message that Qerko knows",
    section=3,
    cure='Refuse with the status 422 and {"code": …, "message": …}, or with such an error in a reply.',
    needs=(answers,),
)
def refusals(play: Play) -> str:
    for other in (unknown_bill, unknown_event, unknown_payment):
        try_rule(other, play)
    if not play.refusals:
        raise NotTried("nothing was refused that should be")
    for turn in play.refusals:
        if turn.exchange.status not in {202, 422}:
            raise Broken(f"{told(turn)}, and not 422")
        if found := findings_of(turn.findings, *_ILL_SAID):
            raise Broken(f"{turn.exchange.event}: {listed(found)}")
    return f"{len(play.refusals)} of them"


def _refused(play: Play, bill: Bill, items: Mapping[str, Decimal], *, beside_another: bool = False) -> str:
    """Raises Broken where a payment begins that should be refused."""
    play.qerko.require_patience("paymentStart")
    story = play.qerko.start_payment(play.pos, bill, items=items, beside_another=beside_another)
    turn = story.turns[-1]
    play.end(story)
    return play.require_error(turn)


def _unpaid(play: Play, turn: Turn) -> Broken | NotTried:
    """Why a payment came to nothing: not its own fault where no bill is ever unlocked."""
    if try_rule(cancelled_again, play).outcome is Outcome.BROKEN:
        play.blamed.add(cancelled_again.name)
        return NotTried(f"{told(turn)}; and {cancelled_again} is broken")
    return broken(turn)


def _require_paid(paid: Paid) -> None:
    """Raises NotTried where the money came to nothing; why is another rule's."""
    if not paid.story.is_paid:
        raise NotTried(f"no payment came to its end: {'; '.join(map(told, paid.story.turns))}", cure=payment.cure)


def _with_receipt(play: Play, story: PaymentStory) -> PaymentStory:
    """The story with its receipt, asked for again and again for a while where it was postponed."""
    give_up = time.monotonic() + _POSTPONED_FOR
    while story.is_receipt_promised and story.is_paid:
        story = play.qerko.ask_receipt(story)
        turn = story.turns[-1]
        is_in_vain = not turn.is_answered or findings_of(turn.findings, *UNREADABLE)
        if is_in_vain or story.has_receipt or time.monotonic() >= give_up:
            break
        time.sleep(_ASKED_EVERY)
    return story


def _require_complete(receipt: Receipt) -> None:
    for fault in _missing(receipt):
        raise Broken(fault)


def _missing(receipt: Receipt) -> Iterator[str]:
    """What a receipt lacks. Sums are not compared: those in Qerko's own samples do not add up (D)."""
    if not receipt.items:
        yield "there is no item on it"
    if not receipt.tax_info:
        yield "taxInfo is empty: no tax stands on it"
    names = {tax.name for tax in receipt.tax_info}
    if None not in names:
        for item in receipt.items:
            if item.tax_name not in names:
                yield f"{item.name} has the tax {item.tax_name!r}, which is not among {sorted(map(str, names))}"
