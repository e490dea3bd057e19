"""One defect each: the rule that must be named, and the neighbours that may be, stand with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, Final

from django_qerko.sandbox.misbehaving import NEWS
from tests.broken_pubs.pub import KEY, Broke, Line, Paying, Pub, Refused, Said, TurnedAway, named

#: Seconds within which the second of two deliveries comes, on a slow machine, too.
TWIN_COMES: Final = 4.0

NOW: frozenset[str] = frozenset()
#: What is known of an event while it is handled.
IN_HAND: Said = (0, None)


@dataclass(frozen=True, kw_only=True)
class Defect:
    """What is broken, and which rule says so."""

    pub: type[Pub]
    rule: str
    how: Mapping[str, Any]

    def __str__(self) -> str:
        return self.pub.__name__

    def open(self) -> Pub:
        return self.pub(**self.how)


DEFECTS: list[Defect] = []


def breaks(rule: str, **how: Any) -> Any:
    """Note which rule a pub breaks."""

    def noted(pub: type[Pub]) -> type[Pub]:
        DEFECTS.append(Defect(pub=pub, rule=rule, how=how))
        return pub

    return noted


# -- Questions ---------------------------------------------------------------------------------------


@breaks("answers")
class TakesQerkoForAForger(Pub):
    def require_signature(self, headers: Mapping[str, str], body: bytes) -> None:
        raise TurnedAway(401, "UNAUTHORIZED")


@breaks("tables")
class HasTablesWithoutNames(Pub):
    def on_getTableList(self, _: Any) -> Any:  # noqa: N802
        return [{"id": "T1"}]


@breaks("tables")
class BreaksOverTables(Pub):
    def on_getTableList(self, _: Any) -> Any:  # noqa: N802
        raise Broke


@breaks("bills")
class AnswersTwice(Pub):
    """Two handlers answer getBill, so it breaks."""

    def on_getBill(self, data: Any) -> Any:  # noqa: N802
        raise Broke


@breaks("bills")
class HasBillsWithoutCurrency(Pub):
    def bill(self, number: str) -> Any:
        bill = super().bill(number)
        return {"id": bill["id"], "items": bill["items"]}


@breaks("bills")
class ShowsBillsThatItDoesNotKnow(Pub):
    def on_getBill(self, data: Any) -> Any:  # noqa: N802
        return super().bill("4")


@breaks("amounts")
class AnswersFloats(Pub):
    def amount(self, value: Decimal) -> Any:
        return float(value)


@breaks("amounts")
class AnswersFloatsWithNoise(Pub):
    """Nobody can read its bills, either."""

    def amount(self, value: Decimal) -> Any:
        return float(value) + 0.1 + 0.2


@breaks("amounts")
class HasReceiptsInFloats(Pub):
    def receipt(self, paying: Paying) -> Any:
        receipt = super().receipt(paying)
        return {**receipt, "taxInfo": [{"name": "VAT", "rate": 21, "base": 82.64, "tax": 17.36}]}


@breaks("unknown-bill")
class ShowsAnEmptyBill(Pub):
    def on_getBill(self, data: Any) -> Any:  # noqa: N802
        number = named(data, "billId", "idBill")
        return super().on_getBill(data) if number in self.bills else {"id": number, "currency": "CZK", "items": []}


@breaks("unknown-bill")
class HasWordsOfItsOwn(Pub):
    def refusal(self, code: str) -> Said:
        return super().refusal("NO_SUCH_BILL" if code == "BILL_NOT_FOUND" else code)


@breaks("unknown-event")
class SaysNothingToTheUnknown(Pub):
    def on_askWhatNobodyKnows(self, _: Any) -> Any:  # noqa: N802
        return None


@breaks("unknown-code")
class FindsABillBehindEveryCode(Pub):
    def on_searchBills(self, _: Any) -> Any:  # noqa: N802
        return [self.bill("1")]


@breaks("unknown-payment")
class HasReceiptsForEverybody(Pub):
    def paying(self, data: Any) -> Paying:
        return self.payments.get(named(data, "paymentId", "idPayment")) or Paying(bill="1", items=[])


@breaks("unknown-payment")
class BreaksOverTheUnknown(Pub):
    """It finds no payment, looks into it all the same, and replies that it broke."""

    def on_paymentProcessed(self, data: Any) -> Any:  # noqa: N802
        if named(data, "paymentId", "idPayment") not in self.payments:
            raise Broke
        return super().on_paymentProcessed(data)


@breaks("unknown-payment")
class BreaksLaterAtTheEndOfTheUnknown(Pub):
    def on_paymentClosed(self, data: Any) -> None:  # noqa: N802
        if named(data, "paymentId", "idPayment") not in self.payments:
            raise Broke
        super().on_paymentClosed(data)


@breaks("unknown-payment", later=NOW)
class BreaksAtTheEndOfTheUnknown(BreaksLaterAtTheEndOfTheUnknown):
    pass


# -- The door ----------------------------------------------------------------------------------------


@breaks("forged")
class VerifiesNothing(Pub):
    def require_signature(self, headers: Mapping[str, str], body: bytes) -> None:
        pass


@breaks("forged")
class ForbidsForgers(Pub):
    def require_signature(self, headers: Mapping[str, str], body: bytes) -> None:
        try:
            super().require_signature(headers, body)
        except TurnedAway:
            raise TurnedAway(403, "ACCESS_DENIED") from None


@breaks("either-signature")
class VerifiesWhatIsThere(Pub):
    def require_signature(self, headers: Mapping[str, str], body: bytes) -> None:
        if "Signature-SHA256" in headers or "Signature" not in headers:
            super().require_signature(headers, body)


@breaks("time-window")
class VerifiesNoTime(Pub):
    def require_time(self, document: Any) -> None:
        pass


@breaks("time-window")
class LivesInTheFuture(Pub):
    """It looks only whether a delivery is too old."""

    def require_time(self, document: Any) -> None:
        super().require_time({**document, "created": "2020-01-01T00:00:00+00:00"})


@breaks("broken-json")
class BreaksOverJson(Pub):
    def read(self, body: bytes) -> Any:
        try:
            return super().read(body)
        except TurnedAway:
            raise TurnedAway(500, None) from None


@breaks("too-large")
class ReadsEverything(Pub):
    def require_size(self, body: bytes) -> None:
        pass


@breaks("wrong-address")
class ListensEverywhere(Pub):
    def require_address(self, path: str) -> None:
        pass


@breaks("tells-nothing")
class AnswersForgersInHtml(Pub):
    def error(self, code: str | None, headers: Mapping[str, str], body: bytes) -> Any:
        return b"<html>No.</html>"


@breaks("tells-nothing")
class SaysWhichSignatureWouldBeRight(Pub):
    def error(self, code: str | None, headers: Mapping[str, str], body: bytes) -> Any:
        return {"code": code, "message": f"Expected {self.seal(body)}."}


@breaks("tells-nothing")
class TellsItsKey(Pub):
    def error(self, code: str | None, headers: Mapping[str, str], body: bytes) -> Any:
        return {"code": code, "message": f"The key is {KEY}."}


@breaks("tells-nothing")
class ShowsItsTraceback(Pub):
    def error(self, code: str | None, headers: Mapping[str, str], body: bytes) -> Any:
        return {"code": code, "message": 'Traceback: File "pub.py"'}


@breaks("address-of-an-event")
class BreaksAtTheAddressOfAnEvent(Pub):
    def hear(self, path: str, headers: Mapping[str, str], body: bytes) -> Said:
        status, said = super().hear(path, headers, body)
        return (500, {"code": None, "message": "No."}) if path.endswith("/getTableList/") else (status, said)


# -- What must be borne ------------------------------------------------------------------------------


@breaks("unknown-members")
class BreaksOverNews(Pub):
    def handle(self, name: str, data: Any) -> Said:
        return (500, {"code": None, "message": "No."}) if "qerkoNews" in data else super().handle(name, data)


@breaks("unknown-members")
class BreaksOverNewsOfAPayment(Pub):
    """It looks at the items of a payment closely, and at nothing else."""

    def on_paymentStart(self, data: Any) -> None:  # noqa: N802
        if any("qerkoNews" in item for item in data["payment"]["items"]):
            raise Refused("BAD_PAYLOAD")
        super().on_paymentStart(data)


@breaks("old-names")
class KnowsNewNamesOnly(Pub):
    def handle(self, name: str, data: Any) -> Said:
        return self.refusal("BAD_PARAMETER") if "idTable" in data else super().handle(name, data)


@breaks("old-names")
class KnowsNoOldPayments(Pub):
    def handle(self, name: str, data: Any) -> Said:
        return self.refusal("BAD_PARAMETER") if "idPayment" in data else super().handle(name, data)


@breaks("in-time")
class IsSlow(Pub):
    patience = 1.0

    def answer(self, name: str, document: Any) -> Said:
        time.sleep(1.5)
        return super().answer(name, document)


@breaks("in-time")
class ServesOneGuestAfterAnother(Pub):
    """Alone, a guest hardly notices."""

    patience = 1.0

    def on_getTableList(self, _: Any) -> Any:  # noqa: N802
        time.sleep(0.3)
        return super().on_getTableList(_)


@breaks("in-time")
class BreaksUnderLoad(Pub):
    hands = threading.BoundedSemaphore(2)

    def hear(self, path: str, headers: Mapping[str, str], body: bytes) -> Said:
        if not self.hands.acquire(blocking=False):
            return 503, {"code": None, "message": "No."}
        try:
            time.sleep(0.03)
            return super().hear(path, headers, body)
        finally:
            self.hands.release()


# -- Payments ----------------------------------------------------------------------------------------


@breaks("cancelled-again")
class IgnoresTheState(Pub):
    def is_paid(self, state: str) -> bool:
        return True


@breaks("cancelled-again")
class NeverUnlocks(Pub):
    def on_paymentClosed(self, data: Any) -> None:  # noqa: N802
        if data["state"] == "PAID":
            super().on_paymentClosed(data)


@breaks("cancelled-again")
class RefusesToCancel(Pub):
    def on_paymentClosed(self, data: Any) -> None:  # noqa: N802
        super().on_paymentClosed(data)
        if data["state"] != "PAID" and named(data, "paymentId", "idPayment") in self.payments:
            raise Refused("NOT_FOUND")


@breaks("second-payment")
class LetsTwoPayAtOnce(Pub):
    def require_free(self, bill: str) -> None:
        pass


@breaks("too-much")
class SellsMoreThanThereIs(Pub):
    def require_left(self, line: Line, quantity: Decimal) -> None:
        pass


@breaks("not-on-the-bill")
class SellsWhatNobodyOrdered(Pub):
    def line(self, bill: str, item: str) -> Line:
        return self.bills[bill].setdefault(item, Line("Whatever", Decimal("1.00"), Decimal(9)))


@breaks("another-currency")
class TakesAnyMoney(Pub):
    def require_currency(self, currency: str) -> None:
        pass


@breaks("bills")
class HasOneBillForAll(Pub):
    def on_getBill(self, data: Any) -> Any:  # noqa: N802
        super().on_getBill(data)
        return self.bill("1")


@breaks("bills", later=NOW)
class NamesBillsOtherwiseOnTheTable(Pub):
    def on_getTableContents(self, data: Any) -> Any:  # noqa: N802
        return [{**bill, "id": f"B{bill['id']}"} for bill in super().on_getTableContents(data)]

    def on_getBill(self, data: Any) -> Any:  # noqa: N802
        return super().on_getBill({"billId": named(data, "billId", "idBill").removeprefix("B")})


@breaks("unknown-members")
class BreaksOverNewsOfTheMoney(Pub):
    def on_paymentProcessed(self, data: Any) -> Any:  # noqa: N802
        if NEWS in data:
            raise Broke
        return super().on_paymentProcessed(data)


@breaks("old-names")
class KnowsMoneyByItsNewNameAlone(Pub):
    def on_paymentProcessed(self, data: Any) -> Any:  # noqa: N802
        if "paymentId" not in data:
            raise Refused("BAD_PARAMETER")
        return super().on_paymentProcessed(data)


@breaks("duplicates")
class RewritesAReceipt(Pub):
    """Under the same number, with more on it each time."""

    def answer(self, name: str, document: Any) -> Said:
        status, said = super().answer(name, document)
        if name == "paymentProcessed" and status == 200:
            said = self.known[document["id"]] = (200, {**said, "items": [*said["items"], said["items"][0]]})
            return said
        return status, said


@breaks("tells-nothing", later=NOW)
class SaysWhichSignatureWasWrong(Pub):
    def error(self, code: str | None, headers: Mapping[str, str], body: bytes) -> Any:
        missing = "Signature-SHA256" not in headers
        return {"code": code, "message": "No signature." if missing else "Another key."}


@breaks("unknown-state")
class KnowsOneOtherState(Pub):
    def is_paid(self, state: str) -> bool:
        return state != "CANCELLED"


@breaks("unknown-state")
class RefusesStates(Pub):
    def on_paymentClosed(self, data: Any) -> None:  # noqa: N802
        super().on_paymentClosed(data)
        if data["state"] not in {"PAID", "CANCELLED"}:
            raise Refused("BAD_PARAMETER")


@breaks("payment", later=NOW)
class ThanksForPayments(Pub):
    def handle(self, name: str, data: Any) -> Said:
        said = super().handle(name, data)
        return (200, "Thank you.") if name == "paymentClosed" else said


@breaks("payment")
class HasNoPaper(Pub):
    def receipt(self, paying: Paying) -> Any:
        raise Refused("BAD_PARAMETER")


@breaks("receipts")
class ForgetsTax(Pub):
    def receipt(self, paying: Paying) -> Any:
        return {**super().receipt(paying), "taxInfo": []}


@breaks("receipts")
class HasReceiptsWithoutTaxInfo(Pub):
    """Qerko cannot read them, and no payment comes to its end."""

    def receipt(self, paying: Paying) -> Any:
        receipt = super().receipt(paying)
        return {"receiptInfo": receipt["receiptInfo"], "items": receipt["items"]}


@breaks("receipts", later=NOW)
class HasReceiptsWithoutItems(Pub):
    def receipt(self, paying: Paying) -> Any:
        return {**super().receipt(paying), "items": []}


@breaks("receipts")
class HasAnotherTax(Pub):
    def receipt(self, paying: Paying) -> Any:
        receipt = super().receipt(paying)
        return {**receipt, "taxInfo": [{**receipt["taxInfo"][0], "name": "GST"}]}


@breaks("paid-items-gone")
class ForgetsPaidItems(Pub):
    def settle(self, paying: Paying) -> None:
        pass


@breaks("paid-items-gone")
class KeepsPaidItemsOnTheTable(Pub):
    def on_getTableContents(self, data: Any) -> Any:  # noqa: N802
        bills = super().on_getTableContents(data)
        for item in (item for bill in bills for item in bill["items"] if item["name"] == "Pivo"):
            item["quantity"] = "6"
        return bills


@breaks("postponed-receipts", postpones=True)
class LosesPostponedReceipts(Pub):
    def on_getPostponedReceipt(self, data: Any) -> Any:  # noqa: N802
        self.paying(data)
        return None


@breaks("postponed-receipts", postpones=True)
class RefusesPostponedReceipts(Pub):
    def on_getPostponedReceipt(self, data: Any) -> Any:  # noqa: N802
        raise Refused("NOT_FOUND")


@breaks("refusals", later=NOW)
class RefusesWithAnotherStatus(Pub):
    def refusal(self, code: str) -> Said:
        return 404, {"code": code, "message": "No."}


@breaks("refusals", later=NOW)
class RefusesWithoutAMessage(Pub):
    def refusal(self, code: str) -> Said:
        return 422, {"code": code}


# -- What is delivered again -------------------------------------------------------------------------


class _Forgetful(Pub):
    def answer(self, name: str, document: Any) -> Said:
        with self.lock:
            return self.handle(name, document["data"] or {})


@breaks("duplicates")
class HandlesDuplicatesTwice(_Forgetful):
    """It takes a payment that begins again for a second one."""


class _TakesStepsOnce(Pub):
    """The steps before the last bear to be taken again."""

    def on_paymentStart(self, data: Any) -> None:  # noqa: N802
        if data["payment"]["id"] not in self.payments:
            super().on_paymentStart(data)

    def on_paymentProcessed(self, data: Any) -> Any:  # noqa: N802
        return self.paying(data).receipt or super().on_paymentProcessed(data)

    def on_paymentClosed(self, data: Any) -> None:  # noqa: N802
        super().on_paymentClosed(data)
        paying = self.payments.get(named(data, "paymentId", "idPayment"))
        if paying is not None and paying.state == "PAID":
            paying.state = "SETTLED"


@breaks("duplicates")
class SettlesDuplicatesTwice(_TakesStepsOnce, _Forgetful):
    pass


@breaks("duplicates")
class IssuesASecondReceipt(Pub):
    def answer(self, name: str, document: Any) -> Said:
        if name == "paymentProcessed":
            self.known.pop(document["id"], None)
        return super().answer(name, document)


class _MeetsItsTwin(Pub):
    """What comes twice at the same moment, after two payments, meets here, however late one of the two is."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        self.meetings: dict[str, threading.Barrier] = {}

    def meeting(self, name: str, event_id: str) -> Callable[[], object]:
        """Waits for the other one, where there is one."""
        paid = [paying for paying in self.payments.values() if paying.state in {"PAID", "SETTLED"}]
        if not name.startswith("payment") or len(paid) < 2:
            return int
        return partial(self.meetings.setdefault(event_id, threading.Barrier(2)).wait, TWIN_COMES)


@breaks("duplicates-at-once")
class LooksBeforeItWrites(_TakesStepsOnce, _MeetsItsTwin):
    """Both look whether the event is known, and then both handle it, one after the other."""

    def answer(self, name: str, document: Any) -> Said:
        if document["id"] not in self.known:
            meet = self.meeting(name, document["id"])
            meet()
            with self.lock:
                said = self.handle(name, document["data"] or {})
            meet()
            self.known[document["id"]] = said
        return self.known[document["id"]]


@breaks("duplicates-at-once", later=NOW)
class BreaksWhereTwoMeet(_MeetsItsTwin):
    """A unique index decides, and nobody catches what it says."""

    def answer(self, name: str, document: Any) -> Said:
        with self.lock:
            known = self.known.get(document["id"])
            self.known.setdefault(document["id"], IN_HAND)
        if known is None:
            self.meeting(name, document["id"])()
            known = self.known[document["id"]] = self.handle(name, document["data"] or {})
        elif known == IN_HAND:
            self.meeting(name, document["id"])()
            return 500, {"code": None, "message": "No."}
        return known


@breaks("duplicates-at-once", later=NOW)
class IssuesTwoReceiptsAtOnce(_MeetsItsTwin):
    def answer(self, name: str, document: Any) -> Said:
        if name != "paymentProcessed" or document["id"] in self.known:
            return super().answer(name, document)
        meet = self.meeting(name, document["id"])
        meet()
        with self.lock:
            said = self.handle(name, document["data"])
        meet()
        self.known[document["id"]] = said
        return said


# -- Replies -----------------------------------------------------------------------------------------


class _OfReplies(Pub):
    def letter(self, letter: Any) -> Any:
        return letter

    def send(self, letter: Any) -> None:
        super().send(self.letter(letter))


@breaks("reply-headers")
class HasNoPosId(Pub):
    def credentials(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {KEY}"}


@breaks("reply-headers")
class HasNoBearer(Pub):
    def credentials(self) -> dict[str, str]:
        return {**super().credentials(), "Authorization": KEY}


@breaks("reply-envelope")
class RepliesUnderAnotherId(_OfReplies):
    def letter(self, letter: Any) -> Any:
        return {**letter, "id": f"reply-{letter['id']}"}


@breaks("reply-envelope")
class RepliesToAnotherEvent(_OfReplies):
    def letter(self, letter: Any) -> Any:
        return {**letter, "event": "reply"}


@breaks("reply-in-time")
class NeverReplies(Pub):
    patience = 3.0

    def send(self, letter: Any) -> None:
        pass


@breaks("one-answer", later=NOW)
class AnswersAndReplies(Pub):
    def answer(self, name: str, document: Any) -> Said:
        said = super().answer(name, document)
        self.threads.append(
            threading.Thread(target=self.send, args=[{"id": document["id"], "event": name, "result": None}])
        )
        self.threads[-1].start()
        return said


@breaks("one-answer")
class RepliesTwice(_OfReplies):
    def send(self, letter: Any) -> None:
        super().send(letter)
        super().send(letter)
