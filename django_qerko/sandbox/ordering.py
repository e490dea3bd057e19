"""Print a bill as a form, on which a guest chooses what to pay."""

from __future__ import annotations

from dataclasses import dataclass

from django_qerko.answers import Bill, BillItem
from django_qerko.sandbox import choosing
from django_qerko.sandbox.choosing import OWN_TIP, TIPS, Choice
from django_qerko.sandbox.slips import Line, lines
from django_qerko.sandbox.speaking import Language, plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An item, and the field in which its quantity is chosen; ``most``, ``step`` and ``price`` are for the browser."""

    line: Line
    number: str
    field: str
    value: str
    most: str
    step: str
    price: str
    of: str
    each: str
    label: str
    less: str
    more: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tip:
    """A button for a tip."""

    value: str
    text: str
    is_chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """All that is asked of the guest, filled in as it was before, or for everything."""

    bill_id: str
    currency: str
    rows: tuple[Row, ...]
    in_parts: bool
    tips: tuple[Tip, ...]
    own_tip: str
    own_tip_label: str
    offer: str
    percent: str
    with_discount: bool


def form(bill: Bill, choice: Choice, language: Language) -> Form:
    """The form for a bill."""
    offer = bill.discount_offer if choosing.is_offered(bill) else None
    return Form(
        bill_id=bill.id,
        currency=language.sign(bill.currency),
        rows=tuple(_rows(bill, choice, language)),
        in_parts=bill.allow_partial_payment,
        tips=tuple(_tips(choice, language)) if bill.allow_tip else (),
        own_tip=choice.own_tip,
        own_tip_label=language.say("own_tip_label", currency=language.sign(bill.currency)),
        offer=language.say("discount_offer", name=offer.name, percent=language.number(offer.percent)) if offer else "",
        percent=plain(offer.percent) if offer else "0",
        with_discount=choice.with_discount,
    )


def _rows(bill: Bill, choice: Choice, language: Language) -> list[Row]:
    printed = zip(bill.items, lines(bill.items, language), strict=True)
    return [
        _row(item, line, choice, language, number=str(number)) for number, (item, line) in enumerate(printed, start=1)
    ]


def _row(item: BillItem, line: Line, choice: Choice, language: Language, *, number: str) -> Row:
    most = plain(item.quantity)
    return Row(
        line=line,
        number=number,
        field=choosing.field_of(item),
        value=choice.quantities.get(item.id, line.quantity),
        most=most,
        step=plain(choosing.smallest_part(item)),
        price=plain(item.price),
        of=language.say("of_n", quantity=line.quantity),
        each=language.say("each", price=line.price),
        label=language.say("how_many", name=item.name),
        less=language.say("less", name=item.name),
        more=language.say("more", name=item.name),
    )


def _tips(choice: Choice, language: Language) -> list[Tip]:
    names = {TIPS[0]: language.say("no_tip"), OWN_TIP: language.say("own_tip")}
    return [
        Tip(value=value, text=names.get(value, f"{value}\N{NO-BREAK SPACE}%"), is_chosen=value == choice.tip)
        for value in (*TIPS, OWN_TIP)
    ]
