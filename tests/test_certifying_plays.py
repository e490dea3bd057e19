"""What certification says of pubs that are not broken, but small, silent or strange, and what it does not try there."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from django_qerko.answers import Bill, BillItem
from django_qerko.certifying import RULES, Outcome, Verdict, on_stage, try_rule
from django_qerko.certifying.parts import Part, part_of
from django_qerko.certifying.playing import Play
from django_qerko.certifying.rules import paying
from django_qerko.certifying.ruling import Rule
from django_qerko.keys import ApiKey
from django_qerko.sandbox.conversation import PointOfSale
from tests.broken_pubs.certifying import certified, of, playing
from tests.broken_pubs.defects import (
    NOW,
    BreaksOverTheUnknown,
    ListensEverywhere,
    NeverReplies,
    NeverUnlocks,
    ReadsEverything,
    VerifiesNothing,
    VerifiesNoTime,
)
from tests.broken_pubs.pub import KEY, PATH, Line, Paying, Pub, Refused, Said, TurnedAway

#: What only a bill shows.
NEED_BILLS = {
    "old-names",
    "cancelled-again",
    "second-payment",
    "too-much",
    "unknown-state",
    "payment",
    "receipts",
    "not-on-the-bill",
    "another-currency",
    "paid-items-gone",
    "duplicates",
    "duplicates-at-once",
    "postponed-receipts",
    "amounts",
}


def named(name: str) -> Rule:
    (rule,) = [rule for rule in RULES if rule.name == name]
    return rule


def untried(verdicts: Mapping[str, Verdict]) -> dict[str, str]:
    """Why rules were not tried."""
    return {name: verdicts[name].seen for name in of(verdicts, Outcome.NOT_TRIED)}


def beer(left: int | str, price: str = "55.00") -> Line:
    return Line("Pivo", Decimal(price), Decimal(left))


# -- What is missing ---------------------------------------------------------------------------------


def test_without_a_table_nothing_is_looked_for() -> None:
    verdicts = certified(Pub(bills={}))

    assert of(verdicts, Outcome.BROKEN) == []
    assert {*untried(verdicts)} == {"tables", "bills", *NEED_BILLS}
    assert (untried(verdicts)["tables"], untried(verdicts)["bills"]) == ("there is no table", "tables is not tried")


@pytest.mark.parametrize("bills", [{"1": {}}, {"1": {"beer": beer(0)}}], ids=["empty", "paid"])
def test_without_a_bill_whoever_is_at_the_door_is_judged_all_the_same(bills: dict[str, dict[str, Line]]) -> None:
    verdicts = certified(Pub(bills=bills))

    assert of(verdicts, Outcome.BROKEN) == []
    assert untried(verdicts)["bills"] == "there is no bill on any table"
    assert "--fixture" in verdicts["bills"].cure
    assert {*untried(verdicts)} == {"bills", *NEED_BILLS}
    assert verdicts["reply-in-time"].outcome is Outcome.HOLDS


def test_a_bill_of_one_beer_is_paid_once() -> None:
    verdicts = certified(Pub(bills={"1": {"beer": beer(1)}}))

    assert of(verdicts, Outcome.BROKEN) == []
    assert verdicts["paid-items-gone"].seen == "of 1 × Pivo, 0 are left after it was paid"
    assert untried(verdicts) == {
        "duplicates": "nothing is left to pay on any bill that was found",
        "duplicates-at-once": "duplicates is not tried",
    }


def test_a_bill_on_which_nothing_costs_anything_is_not_paid() -> None:
    verdicts = certified(Pub(bills={"1": {"water": beer(1, price="0.00")}}))

    assert untried(verdicts)["payment"] == "nothing is left to pay on any bill that was found"
    assert untried(verdicts)["cancelled-again"] == "nothing is left to pay on any bill that was found"


class WholeBillsOnly(Pub):
    def bill(self, number: str) -> Any:
        return {**super().bill(number), "allowPartialPayment": False}


def test_bills_that_are_paid_as_a_whole_are_paid_as_a_whole() -> None:
    pub = WholeBillsOnly()

    verdicts = certified(pub)

    assert (of(verdicts, Outcome.BROKEN), untried(verdicts)) == ([], {})
    assert [line.left for lines in pub.bills.values() for line in lines.values()] == [0] * 6


@pytest.mark.parametrize(
    ("items", "chosen", "steps"),
    [
        ([("a", "2", "1", None), ("b", "4", "1", None)], {"b": "1"}, 4),
        ([("a", "0.5", "1", None)], {"a": "0.5"}, 1),
        ([("a", "2", "1", "0.5")], {"a": "0.5"}, 4),
        ([("a", "1", "1", "2")], {"a": "1"}, 1),
        ([("a", "3", "-10", None), ("b", "1", "5", None)], {"b": "1"}, 1),
    ],
)
def test_as_little_is_paid_as_may_be(items: list[Any], chosen: dict[str, str], steps: int) -> None:
    lines = [BillItem(id=i, name=i, quantity=q, price=p, min_quantity=m) for i, q, p, m in items]

    part = part_of(Bill(id="1", currency="CZK", items=lines))

    assert isinstance(part, Part)
    assert part.items == {item: Decimal(quantity) for item, quantity in chosen.items()}
    assert part.steps == steps
    assert part.too_much[part.item.id] > part.before


# -- Who does not answer -----------------------------------------------------------------------------


def test_a_pub_that_is_not_there_is_said_to_be_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    pos = PointOfSale(url=f"http://127.0.0.1:{port}/", api_key=ApiKey(KEY))

    with on_stage(pos) as play:
        verdicts = {rule.name: try_rule(rule, play) for rule in RULES}

    assert of(verdicts, Outcome.BROKEN) == ["answers"]
    assert verdicts["answers"].seen == "getTableList: no answer (connection refused)"
    assert verdicts["in-time"].seen == "answers is broken"


class HangsUpOnLargeBodies(Pub):
    """Like a server in front of it, which does not wait for the end."""

    def require_size(self, body: bytes) -> None:
        if len(body) > 1_000_000:
            raise ConnectionAbortedError


def test_whoever_hangs_up_on_what_is_too_large_may_do_so() -> None:
    verdicts = certified(HangsUpOnLargeBodies(), only=["too-large"])

    assert verdicts["too-large"].outcome is Outcome.NOT_TRIED
    assert verdicts["too-large"].seen.startswith("whoever keeps it out hangs up before it can be read why")


def test_an_error_without_a_code_is_no_answer_to_an_unknown_payment() -> None:
    verdict = certified(BreaksOverTheUnknown(), only=["unknown-payment"])["unknown-payment"]

    assert verdict.seen == (
        "paymentProcessed: 202, and then replied an error without a code: it broke over a payment that it does not know"
    )
    assert "if payment is None: raise DomainError" in verdict.cure


class ForgetsWhoAsked(Pub):
    """It breaks over every bill that was paid."""

    def bill(self, number: str) -> Any:
        if any(paying.state == "PAID" for paying in self.payments.values()):
            raise Refused("NOT_FOUND")
        return super().bill(number)


def test_a_bill_that_cannot_be_looked_at_any_more_breaks_the_rule_that_wanted_to() -> None:
    verdicts = certified(ForgetsWhoAsked())

    assert of(verdicts, Outcome.BROKEN) == ["paid-items-gone"]
    assert verdicts["paid-items-gone"].seen == "getBill: 422 NOT_FOUND"


class LetsEverybodyIn(VerifiesNothing, VerifiesNoTime, ReadsEverything, ListensEverywhere):
    def read(self, body: bytes) -> Any:
        return json.loads(body.replace(b'"data": {', b'"data": {}') if b'"data": {,' in body else body)


class AgreesToEverything(Pub):
    def refusal(self, code: str) -> Said:
        return 200, None


@pytest.mark.parametrize(
    ("pub", "rule", "seen"),
    [
        (LetsEverybodyIn, "tells-nothing", "nobody was turned away as they should be"),
        (AgreesToEverything, "refusals", "nothing was refused that should be"),
    ],
)
def test_who_turns_nobody_away_tells_nobody_anything(pub: type[Pub], rule: str, seen: str) -> None:
    verdict = certified(pub(), only=[rule])[rule]

    assert (verdict.outcome, verdict.seen) == (Outcome.NOT_TRIED, seen)


def test_a_payment_is_not_blamed_for_a_bill_that_stays_locked() -> None:
    verdicts = certified(NeverUnlocks(bills={"1": {"beer": beer(5)}}))

    assert of(verdicts, Outcome.BROKEN) == ["cancelled-again"]
    assert verdicts["payment"].seen.endswith("replied ACCESS_DENIED; and cancelled-again is broken")


# -- Who else pays -----------------------------------------------------------------------------------


def paid_elsewhere(*bills: str) -> Pub:
    """A pub where others are paying."""
    return Pub(payments={f"of-{bill}": Paying(bill=bill, items=[]) for bill in bills})


@pytest.mark.parametrize("rule", ["cancelled-again", "payment"])
def test_where_somebody_pays_already_another_bill_is_chosen(rule: str) -> None:
    verdict = certified(paid_elsewhere("1", "2"), only=[rule])[rule]

    assert verdict.outcome is Outcome.HOLDS, verdict.seen


def test_where_somebody_pays_everywhere_it_is_said_how_to_end_that() -> None:
    verdicts = certified(paid_elsewhere("1", "2", "3"), only=["cancelled-again", "payment"])

    verdict = verdicts["cancelled-again"]
    assert verdict.outcome is Outcome.NOT_TRIED
    assert verdict.seen == "a payment could not begin: paymentStart: 202, and then replied ACCESS_DENIED"
    assert "qerko_reconcile" in verdict.cure
    assert "replied ACCESS_DENIED" in verdicts["payment"].seen


def in_progress(pub: Pub) -> list[str]:
    """The bills that stay locked."""
    return [paying.bill for paying in pub.payments.values() if paying.state == "STARTED"]


def test_no_bill_stays_locked_where_no_reply_comes() -> None:
    pub = NeverReplies()

    verdicts = certified(pub)

    assert verdicts["cancelled-again"].cure == named("reply-in-time").cure
    assert pub.payments
    assert in_progress(pub) == []


def leave_while_somebody_pays(pub: Pub) -> None:
    with playing(pub) as play:
        try_rule(named("bills"), play)
        play.begin(play.part())
        assert in_progress(pub) != []
        raise KeyboardInterrupt


def test_no_bill_stays_locked_where_somebody_has_seen_enough() -> None:
    pub = Pub()

    with pytest.raises(KeyboardInterrupt):
        leave_while_somebody_pays(pub)

    assert in_progress(pub) == []


class SellsByTheShipload(Pub):
    """So much that one more cannot be written."""

    def bill(self, number: str) -> Any:
        bill = super().bill(number)
        return {**bill, "items": [{**item, "quantity": "9" * 12} for item in bill["items"]]}


def test_a_trial_that_breaks_itself_is_told_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    verdicts = certified(SellsByTheShipload())

    broke = verdicts["too-much"]
    assert (broke.outcome, broke.cure) == (
        Outcome.NOT_TRIED,
        "Report it to django_qerko, with the traceback that -v 2 shows.",
    )
    assert re.match(r"the trial itself broke: \w+Error in \w+, line \d+: ", broke.seen)
    assert verdicts["unknown-state"].outcome is not Outcome.NOT_TRIED
    assert "The rule too-much could not be tried" in caplog.text


# -- What is nobody's duty ---------------------------------------------------------------------------


class HasNoCodes(Pub):
    def on_searchBills(self, _: Any) -> Any:  # noqa: N802
        raise Refused("NO_SUCH_METHOD")


class HasEmptyCodes(Pub):
    def on_searchBills(self, _: Any) -> Any:  # noqa: N802
        return []


class HasOneAddress(Pub):
    def name_of(self, path: str, document: Any) -> str:
        return str(document.get("event"))


class HasOnePageForTheLost(Pub):
    """One address and nothing below it; what is not there is a page of the server's."""

    def hear(self, path: str, headers: Mapping[str, str], body: bytes) -> Said:
        return super().hear(path, headers, body) if path == PATH else (404, b"<h1>Not Found</h1>")


class HasNothingBelow(Pub):
    """One address, and nothing below it, which it says itself."""

    def require_address(self, path: str) -> None:
        if path != PATH:
            raise TurnedAway(404, "NOT_FOUND")


class TellsTheLost(HasNothingBelow):
    def error(self, code: str | None, headers: Mapping[str, str], body: bytes) -> Any:
        return {"code": code, "message": f"Traceback of {code}"}


class WantsBothSignatures(Pub):
    def require_signature(self, headers: Mapping[str, str], body: bytes) -> None:
        super().require_signature(headers if "Signature" in headers else {}, body)


class AsksToComeAgain(Pub):
    """Where two come at once it has one of them wait outside."""

    def hear(self, path: str, headers: Mapping[str, str], body: bytes) -> Said:
        if not self.lock.acquire(timeout=0.5 if b"payment" not in body else 0):
            return 503, {"code": None, "message": "Not now."}
        try:
            time.sleep(0.05 if b"payment" in body else 0)
            return super().hear(path, headers, body)
        finally:
            self.lock.release()


@pytest.mark.parametrize(
    ("pub", "rule", "outcome", "seen"),
    [
        (HasNoCodes, "unknown-code", Outcome.NOT_NEEDED, "it has no codes of its own"),
        (HasEmptyCodes, "unknown-code", Outcome.HOLDS, "searchBills: 200"),
        (HasOneAddress, "address-of-an-event", Outcome.NOT_NEEDED, "one address serves all events"),
        (WantsBothSignatures, "either-signature", Outcome.HOLDS, "it wants both signatures"),
        (HasNothingBelow, "wrong-address", Outcome.HOLDS, "404"),
        (
            HasOnePageForTheLost,
            "wrong-address",
            Outcome.HOLDS,
            "404, with a page that is not judged: it need not be the webhook's",
        ),
    ],
)
def test_what_it_need_not_do_is_no_fault(pub: type[Pub], rule: str, outcome: Outcome, seen: str) -> None:
    verdict = certified(pub(), only=[rule])[rule]

    assert (verdict.outcome, verdict.seen) == (outcome, seen)


def test_a_page_that_is_not_the_webhooks_is_not_judged() -> None:
    verdicts = certified(HasOnePageForTheLost(), only=["wrong-address", "tells-nothing"])

    assert of(verdicts, Outcome.HOLDS) == ["wrong-address", "tells-nothing"], verdicts["tells-nothing"].seen


def test_what_the_lost_are_told_in_json_is_judged() -> None:
    with playing(TellsTheLost()) as play:
        try_rule(named("wrong-address"), play)
        (exchange,) = play.turned_away

    assert exchange.request_url.startswith(play.pos.url)
    assert exchange.error_message == "Traceback of NOT_FOUND"


class SellsTwice(Pub):
    def on_paymentStart(self, data: Any) -> None:  # noqa: N802
        if [paying.state for paying in self.payments.values()].count("PAID") > 1:
            raise Refused("BAD_PARAMETER")
        super().on_paymentStart(data)


def test_where_not_even_one_can_begin_nothing_is_said_of_two_at_once() -> None:
    verdict = certified(SellsTwice(later=NOW), only=["duplicates-at-once"])["duplicates-at-once"]

    assert verdict.outcome is Outcome.NOT_TRIED
    assert verdict.seen == "a payment could not begin: paymentStart: 422 BAD_PARAMETER"


def test_a_second_delivery_at_once_may_be_asked_to_come_again() -> None:
    verdict = certified(AsksToComeAgain(later=NOW), only=["duplicates-at-once"])["duplicates-at-once"]

    assert verdict.outcome is Outcome.HOLDS, verdict.seen


class RepliesOnce(Pub):
    """To what is delivered again it says 202 again, and no more."""

    def reply(self, name: str, document: Any) -> None:
        if document["id"] not in self.known:
            super().reply(name, document)


class HasTaxesWithoutNames(Pub):
    def receipt(self, paying: Any) -> Any:
        return {**super().receipt(paying), "taxInfo": [{"rate": "21", "base": "82.64", "tax": "17.36"}]}


@pytest.mark.parametrize("pub", [RepliesOnce, HasTaxesWithoutNames])
def test_what_is_done_otherwise_may_be_right_as_well(pub: type[Pub]) -> None:
    verdicts = certified(pub())

    assert {name: verdict.seen for name, verdict in verdicts.items() if not verdict.is_good} == {}


class PostponesForEver(Pub):
    def on_getPostponedReceipt(self, data: Any) -> Any:  # noqa: N802
        self.paying(data)
        return self.promise()


def test_a_receipt_that_stays_away_is_not_waited_for_all_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paying, "_POSTPONED_FOR", 0.3)
    monkeypatch.setattr(paying, "_ASKED_EVERY", 0.1)

    verdicts = certified(PostponesForEver(postpones=True))

    assert of(verdicts, Outcome.BROKEN) == []
    assert untried(verdicts) == {
        "receipts": "the receipt was still postponed after 0.3 seconds",
        "postponed-receipts": "still postponed after 0.3 seconds",
    }


# -- One rule ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_rule_is_tried_alone(rule: Rule) -> None:
    with playing(Pub(postpones=True)) as play:
        verdict = try_rule(rule, play)

    assert verdict.outcome is Outcome.HOLDS, verdict.seen


def test_a_rule_is_tried_once() -> None:
    with playing(Pub()) as play:
        first = try_rule(named("payment"), play)
        begun = len(play.qerko.exchanges)
        second = try_rule(named("payment"), play)

    assert second is first
    assert len(play.qerko.exchanges) == begun


def test_a_rule_says_which_one_it_needed() -> None:
    verdict = certified(Pub(bills={"1": {}}), only=["duplicates-at-once"])["duplicates-at-once"]

    assert (verdict.outcome, verdict.seen) == (Outcome.NOT_TRIED, "duplicates is not tried")


class Talks(Pub):
    def refusal(self, code: str) -> Said:
        return super().refusal(f"{KEY}\x1b[2J" + "…" * 1000)


def test_what_a_stranger_says_is_read_without_harm() -> None:
    seen = certified(Talks(later=NOW), only=["unknown-bill"])["unknown-bill"].seen

    assert seen.startswith("getBill: 422 …e4e1\\x1b[2J………")
    assert len(seen) == 401


def test_rules_have_names_and_say_what_to_do() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES) >= 30
    for rule in RULES:
        assert rule.sentence[0].isupper() or rule.sentence.startswith("get")
        assert not rule.sentence.endswith(".")
        assert rule.cure.endswith((".", "?"))
        assert 1 <= rule.section <= 5
        assert all(RULES.index(needed) < RULES.index(rule) for needed in rule.needs)
        assert repr(rule)


def test_a_play_begins_with_nothing() -> None:
    with playing(Pub()) as play:
        assert isinstance(play, Play)
        assert (play.verdicts, play.bills, play.qerko.heard) == ({}, {}, [])
