"""What happens in the evening, scene by scene. A scene's docstring is its title, and none needs another."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from django_qerko.sandbox.qerko import PaymentStory
from example_project.demo.evening import Evening, Expected, accepted, answered, refused
from example_project.demo.pub import LaidTable
from example_project.demo.words import Bill, listed, total

Scene = Callable[[Evening], None]


def qerko_learns_the_tables(evening: Evening) -> None:
    """Qerko learns which tables there are, to pair its codes with them"""
    tables = [table.id for table in evening.pub.tables]
    evening.ask(
        "getTableList",
        None,
        answered(f"the tables {listed(tables)}", lambda answer: [table["id"] for table in answer] == tables),
    )


def a_guest_sits_down(evening: Evening) -> None:
    """A guest scans the code on a table"""
    table = evening.pub.tables[0]
    evening.ask("getTableContents", {"tableId": table.id, "customerId": None}, _bills_of(table), about=table.id)
    evening.ask(
        "getTableContents",
        {"tableId": "T99", "customerId": None},
        refused(422, "NOT_FOUND"),
        about="T99, never there",
    )


def a_guest_scans_a_bill(evening: Evening) -> None:
    """Another scans the code that is printed on a bill, and looks at it"""
    table = evening.pub.tables[1]
    code = f"bill:{table.bill_id}"
    evening.ask("searchBills", {"qrIdentifier": code, "customerId": "guest-7"}, _bills_of(table), about=code)
    evening.ask("getBill", {"billId": table.bill_id, "customerId": "guest-7"}, _bill_of(table), about=table.bill_id)
    evening.ask(
        "searchBills",
        {"qrIdentifier": "https://example.com/menu", "customerId": "guest-7"},
        refused(422, "QR_INVALID"),
        about="the code on a poster",
    )


def a_bill_that_does_not_exist(evening: Evening) -> None:
    """A bill that does not exist"""
    evening.ask("getBill", {"billId": "none-of-ours", "customerId": None}, refused(422, "BILL_NOT_FOUND"))


def the_same_event_twice(evening: Evening) -> None:
    """The net hiccups: Qerko delivers the same event twice"""
    table = evening.pub.tables[2]
    event_id = str(uuid.uuid4())
    question = _question(table)
    first = evening.ask("getBill", question, _bill_of(table), event_id=event_id, about=table.bill_id)
    evening.ask(
        "getBill",
        question,
        Expected(
            status=200,
            words="the very same bytes as before",
            holds=lambda again: again.response_body == first.response_body,
        ),
        event_id=event_id,
        about="the same again, byte for byte",
    )


def either_signature_is_enough(evening: Evening) -> None:
    """Qerko signs twice; a point of sale may check either"""
    table = evening.pub.tables[3]
    question = _question(table)
    evening.ask("getBill", question, _bill_of(table), schemes=["rfc9421"], about="RFC 9421 alone")
    evening.ask(
        "getBill",
        question,
        _bill_of(table),
        schemes=["hmac-sha256"],
        url_per_event=True,
        about="HMAC alone, at its own URL",
    )


def forged(evening: Evening) -> None:
    """Somebody else would like to see a bill"""
    question = _question(evening.pub.tables[0])
    for tamper, about in (("key", "signed with another key"), ("body", "changed after it was signed")):
        evening.ask("getBill", question, refused(401, "UNAUTHORIZED"), who="a stranger", tamper=tamper, about=about)


def too_late(evening: Evening) -> None:
    """A question comes two minutes after it was written"""
    question = _question(evening.pub.tables[0])
    evening.ask("getBill", question, refused(410, "TIME_LIMIT_EXPIRED"), age=120.0, about="valid for one minute")


def qerko_reads_the_menu(evening: Evening) -> None:
    """A guest would like to see the menu"""
    evening.ask(
        "getMealMenus",
        None,
        answered("menus with dishes", lambda answer: all(menu["items"] for menu in answer["menus"])),
    )


def a_guest_walks_away(evening: Evening) -> None:
    """A guest begins to pay, and walks away; the bill is as it was"""
    table = evening.pub.tables[0]
    bill = _look_at(evening, table)
    evening.close_payment(evening.begin_payment(bill, accepted(), about=f"all of bill {table.bill_id}"))
    _look_at(evening, table)


def a_guest_pays(evening: Evening) -> None:
    """The guest comes back and pays, with a tip; the pub answers later"""
    table = evening.pub.tables[0]
    bill = _look_at(evening, table)
    story = evening.begin_payment(bill, accepted(), about=f"all of bill {table.bill_id}, and a tip", tip="80.00")
    story = evening.process_payment(story, _receipt_over(table.total))
    _print_receipt(evening, story)
    evening.close_payment(story)
    _is_closed(evening, table)
    evening.ask(
        "getTableContents",
        {"tableId": table.id, "customerId": None},
        answered("no bill", lambda bills: bills == []),
        about=table.id,
    )


def two_guests_split_a_bill(evening: Evening) -> None:
    """Two regulars split a bill, half a portion each, and take their discount"""
    table = evening.pub.tables[1]
    bill = _look_at(evening, table)
    drink, soup, shared, *_ = bill["items"]
    mine = {drink["id"]: "1", soup["id"]: "1", shared["id"]: shared["minQuantity"]}
    _pay(evening, bill, mine, about="one of two guests", discount=True)
    evening.teller.say("The other phone still shows everything.", margin=15)
    evening.close_payment(evening.begin_payment(bill, refused(200, "BAD_PARAMETER"), about="everything"))
    left = _left(bill, mine)
    bill = evening.ask(
        "getBill",
        _question(table),
        answered(f"what is left, {_sum(left):.2f}", lambda bill: bill["items"] == left),
        about=f"{table.bill_id}, once more",
    ).answer
    _pay(evening, bill, _whole(left), about="the other guest", discount=True)
    _is_closed(evening, table)


def two_guests_at_once(evening: Evening) -> None:
    """Two guests want to pay one bill at once; the second is refused"""
    table = evening.pub.tables[2]
    bill = _look_at(evening, table)
    beer, _, shots = bill["items"]
    first = evening.begin_payment(bill, accepted(), about=_named([beer]), items=_whole([beer]))
    second = evening.begin_payment(
        bill, refused(200, "ACCESS_DENIED"), about=_named([shots]), items=_whole([shots]), beside_another=True
    )
    evening.close_payment(second)
    evening.close_payment(evening.process_payment(first, _no_receipt_yet()))
    evening.teller.say("Now the bill is free again.", margin=15)
    _pay(evening, bill, _whole([shots]), about=_named([shots]), expected=_no_receipt_yet())


def a_receipt_comes_later(evening: Evening) -> None:
    """In the garden a receipt is written once the money is certain"""
    table = evening.pub.tables[2]
    bill = _look_at_the_rest(evening, table)
    story = evening.begin_payment(bill, accepted(), about=_named(bill["items"]))
    story = evening.process_payment(story, _no_receipt_yet())
    story = evening.ask_receipt(story, _no_receipt_yet(), about="is it there?")
    story = evening.close_payment(story)
    story = evening.ask_receipt(story, _receipt_over(_sum(bill["items"])), about="and now?")
    _print_receipt(evening, story)


def qerko_is_busy(evening: Evening) -> None:
    """Qerko is busy, twice; the pub knocks until its reply is taken"""
    table = evening.pub.tables[3]
    bill = _look_at(evening, table)
    beer = bill["items"][:1]
    evening.qerko.be_busy(times=2)
    story = evening.begin_payment(bill, accepted(), about=_named(beer), items=_whole(beer))
    tries = [reply.status for reply in evening.qerko.replies if reply.event_id == story.turns[0].exchange.event_id]
    evening.teller.say(f"The reply was tried {len(tries)} times: {listed(list(map(str, tries)))}.", margin=15)
    story = evening.process_payment(story, _receipt_over(_sum(beer)))
    evening.close_payment(story)


def the_news_is_lost(evening: Evening) -> None:
    """The news that a guest has paid is lost; the next guest brings it to light"""
    table = evening.pub.tables[3]
    bill = _look_at_the_rest(evening, table)
    beer, soup, *_ = bill["items"]
    story = evening.begin_payment(bill, accepted(), about=_named([beer]), items=_whole([beer]))
    story = evening.process_payment(story, _receipt_over(_sum([beer])))
    evening.lose_end(story)
    evening.close_payment(
        evening.begin_payment(bill, refused(200, "ACCESS_DENIED"), about=_named([soup]), items=_whole([soup]))
    )
    evening.teller.say("There are never two at once, so the pub asks Qerko what became of the first.", margin=15)
    left = bill["items"][1:]
    evening.ask_until(
        "getBill",
        _question(table),
        answered(f"what is left, {_sum(left):.2f}", lambda bill: bill["items"] == left),
        about=f"{table.bill_id}, a moment later",
    )
    _pay(evening, bill, _whole([soup]), about=_named([soup]))


def the_clock_runs(evening: Evening) -> None:
    """Four guests pay half a portion each, while the clock runs"""
    table = evening.pub.tables[3]
    bill = _look_at_the_rest(evening, table)
    shared = bill["items"][-1]
    for number in range(1, 5):
        evening.measure_payment(bill, items={shared["id"]: shared["minQuantity"]}, who=f"guest {number}")


SCENES: Final[Sequence[Scene]] = (
    qerko_learns_the_tables,
    a_guest_sits_down,
    a_guest_scans_a_bill,
    a_bill_that_does_not_exist,
    the_same_event_twice,
    either_signature_is_enough,
    forged,
    too_late,
    qerko_reads_the_menu,
    a_guest_walks_away,
    a_guest_pays,
    two_guests_split_a_bill,
    two_guests_at_once,
    a_receipt_comes_later,
    qerko_is_busy,
    the_news_is_lost,
    the_clock_runs,
)


def _look_at(evening: Evening, table: LaidTable) -> Any:
    """What a phone shows of the bill on a table."""
    return evening.ask("getBill", _question(table), _bill_of(table), about=table.bill_id).answer


def _is_closed(evening: Evening, table: LaidTable) -> None:
    evening.ask("getBill", _question(table), refused(422, "BILL_CLOSED"), about=f"{table.bill_id}, once more")


def _pay(
    evening: Evening,
    bill: Bill,
    items: Mapping[str, str],
    *,
    about: str,
    expected: Expected | None = None,
    discount: bool = False,
) -> None:
    """A guest pays these quantities from beginning to end; a discount is worth looking at on the receipt."""
    chosen = [item | {"quantity": items[item["id"]]} for item in bill["items"] if item["id"] in items]
    story = evening.begin_payment(bill, accepted(), about=about, items=items, discount=discount)
    less = story.payment.discount.value if story.payment.discount else Decimal(0)
    story = evening.process_payment(story, expected or _receipt_over(_sum(chosen) - less))
    if less:
        _print_receipt(evening, story)
    evening.close_payment(story)


def _print_receipt(evening: Evening, story: PaymentStory) -> None:
    if story.receipt:
        evening.teller.receipt(story.receipt, story.payment.bill.currency)


def _left(bill: Bill, paid: Mapping[str, str]) -> list[Any]:
    """What is left of a bill's items, as the bill has them."""
    left = [(item, Decimal(item["quantity"]) - Decimal(paid.get(item["id"], 0))) for item in bill["items"]]
    return [item | {"quantity": f"{quantity:f}"} for item, quantity in left if quantity]


def _look_at_the_rest(evening: Evening, table: LaidTable) -> Any:
    """What a phone shows of a bill of which something is paid."""
    return evening.ask(
        "getBill",
        _question(table),
        answered(f"less than {table.total} to pay", lambda bill: total(bill) < table.total),
        about=f"{table.bill_id}, what is left",
    ).answer


def _question(table: LaidTable) -> dict[str, Any]:
    return {"billId": table.bill_id, "customerId": None}


def _sum(items: Sequence[Any]) -> Decimal:
    return total({"items": items})


def _named(items: Sequence[Any]) -> str:
    return listed([f"{item['quantity']} × {item['name']}" for item in items])


def _whole(items: Sequence[Any]) -> dict[str, str]:
    return {item["id"]: item["quantity"] for item in items}


def _receipt_over(paid: Decimal) -> Expected:
    """A receipt whose base and tax make what was paid."""
    return answered(
        f"a receipt over {paid:.2f}",
        lambda receipt: sum(Decimal(tax[part]) for tax in receipt["taxInfo"] for part in ("base", "tax")) == paid,
    )


def _no_receipt_yet() -> Expected:
    return answered("POSTPONED", lambda receipt: receipt["receiptDeliveryType"] == "POSTPONED")


def _bill_of(table: LaidTable) -> Expected:
    return answered(f"bill {table.bill_id} with {table.total} to pay", lambda bill: _is_bill_of(table, bill))


def _bills_of(table: LaidTable) -> Expected:
    return answered(
        f"bill {table.bill_id} alone, with {table.total} to pay",
        lambda bills: len(bills) == 1 and _is_bill_of(table, bills[0]),
    )


def _is_bill_of(table: LaidTable, bill: Any) -> bool:
    return bool(bill["id"] == table.bill_id and total(bill) == table.total)
