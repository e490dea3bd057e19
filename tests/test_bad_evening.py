"""An evening with a Qerko that fails, cuts, repeats and reorders: in the end it and the pub agree on every payment."""

from __future__ import annotations

import json
import os
import random
import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from django.db import connection

from django_qerko.keys import ApiKey
from django_qerko.sandbox.qerko import Exchange, Manners, Pauses, PointOfSale, Qerko, Reply
from django_qerko.sandbox.server import SandboxServer
from example_project.demo.pub import LaidTable, Staff, lay_tables, listening, open_doors
from example_project.demo.stage import Stage, StageFailed
from tests.deliveries import KEY
from tests.workers import until

ON_SERVERS: Final = "TEST_DATABASE_URL" in os.environ
#: Many on PostgreSQL with Redis, where most restaurants would run it.
PAYMENTS: Final = 500 if connection.vendor == "postgresql" else 100 if ON_SERVERS else 25
TABLES: Final = 60 if ON_SERVERS else 6
GUESTS: Final = 24 if ON_SERVERS else 3

BAD: Final = Manners(fail=0.2, cut=0.1, twice=0.2, reorder=0.1, forge=0.05, unknown_members=True)
SEED: Final = 1842


@pytest.fixture
def servers(django_db_setup: None, django_db_blocker: Any) -> Iterator[dict[str, str]]:
    """Where the pub keeps its books and queues: this lane's servers, or files on the stage."""
    if not ON_SERVERS:
        yield {}
        return
    name = f"bad_evening_{uuid.uuid4().hex}"
    with django_db_blocker.unblock(), connection._nodb_cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        database = urlsplit(os.environ["TEST_DATABASE_URL"])._replace(path=f"/{name}").geturl()
        broker = os.environ.get("TEST_BROKER_URL")
        yield {"DATABASE_URL": database} | ({"CELERY_BROKER_URL": broker} if broker else {})
        cursor.execute(f"DROP DATABASE {name}")


@dataclass(kw_only=True)
class Evening:
    """A pub under gunicorn with a worker beside it, a Qerko that behaves badly, and guests."""

    stage: Stage
    qerko: Qerko
    pos: PointOfSale
    staff: Staff
    tables: Sequence[LaidTable]
    dice: random.Random = field(default_factory=lambda: random.Random(SEED))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def a_guest(self) -> None:
        """Sits down here and there, and pays a little each time, until enough was paid."""
        while len(self.qerko.payments) < PAYMENTS:
            bill = self._look_at(self._chosen(self.tables))
            # Qerko never has two payments in progress on one bill.
            with suppress(ValueError):
                for item in [self._chosen(bill["items"])] if bill else []:
                    self._pay(bill, item)

    def _pay(self, bill: Any, item: Any) -> None:
        items, tip = {item["id"]: item["minQuantity"]}, self._chosen([0, 5])
        story = self.qerko.process_payment(self.qerko.start_payment(self.pos, bill, items=items, tip=tip))
        # The news that it is paid may be lost for good. Of any other end that was lost, nothing public says that it is
        # one, and it would stay in progress.
        is_lost = story.state == "PROCESSED" and self._chosen(range(10)) == 0
        self.qerko.close_payment(story, is_lost=is_lost)

    def _look_at(self, table: LaidTable) -> Any:
        turn = self.qerko.ask_and_wait(self.pos, "getBill", {"billId": table.bill_id, "customerId": None})
        return turn.answer if turn.is_answered else None

    def _chosen(self, among: Sequence[Any]) -> Any:
        with self.lock:
            return self.dice.choice(among)

    def reconcile(self) -> bool:
        """Ask Qerko, which may be too busy to say, about what is in progress; whether nothing is any more, or waits."""
        with suppress(StageFailed):
            self.stage.command("qerko_reconcile")
        figures = json.loads(self.stage.command("qerko_stats", "--json"))
        return not figures["backlog"] + figures["payments"]["started"] + figures["payments"]["processed"]


@contextmanager
def an_evening(servers: dict[str, str], found: list[str]) -> Iterator[Evening]:
    def judged(said: Exchange | Reply) -> None:
        found.extend(f"{said.event} {said.status}: {finding}" for finding in said.findings)

    pauses = Pauses(first=0.2, longest=2.0)
    qerko = Qerko(
        on_exchange=judged, on_reply=judged, manners=BAD, seed=SEED, closing_pauses=pauses, receipt_pauses=pauses
    )
    with Stage() as stage, qerko, listening(0) as door:
        stage.environment |= {
            "CELERY_BROKER_URL": f"sqlite:///{stage.folder / 'broker.sqlite3'}",
            "DATABASE_URL": f"sqlite:///{stage.folder / 'pub.sqlite3'}",
            "DJANGO_DEBUG": "0",
            "DJANGO_SETTINGS_MODULE": "example_project.settings",
            "QERKO_API_KEY": KEY.reveal(),
            **servers,
        }
        stage.command("migrate", "--verbosity=0")
        pub = lay_tables(stage, TABLES, port=int(door.getsockname()[1]))
        pos = PointOfSale(url=pub.webhook, api_key=ApiKey(KEY.reveal()), name="The pub")
        with SandboxServer(qerko, [pos]) as sandbox:
            stage.environment |= {"QERKO_BASE_URL": sandbox.api_url}
            yield Evening(stage=stage, qerko=qerko, pos=pos, staff=open_doors(stage, door), tables=pub.tables)


# -- The books, item by item ----------------------------------------------------------------------

Quantities = dict[str, Decimal]


@dataclass(frozen=True, kw_only=True)
class Books:
    """What stands in the pub's database, by the ids that Qerko knows."""

    #: State, bill and quantities of each payment.
    payments: dict[str, tuple[str, str, Quantities]]
    alarms: dict[str, str]
    #: What is paid of each bill, in the app's books, and on the pub's lines.
    bills: dict[str, Quantities]
    lines: dict[str, Quantities]


def read_books(stage: Stage) -> Books:
    rows: dict[str, dict[int, Any]] = {"payment": {}, "paymentitem": {}, "bill": {}, "line": {}}
    models = ["django_qerko.payment", "django_qerko.paymentitem", "django_qerko.bill", "pub.line"]
    for row in json.loads(stage.command("dumpdata", *models)):
        rows[row["model"].partition(".")[2]][row["pk"]] = row["fields"]
    payments, items, bills, lines = rows.values()
    paid: dict[int, Quantities] = {key: {} for key in payments}
    for item in items.values():
        paid[item["payment"]][item["item_id"]] = Decimal(item["quantity"])
    told = {
        payment["payment_id"]: (payment["state"], bills[payment["bill"]]["bill_id"], paid[key])
        for key, payment in payments.items()
    }
    return Books(
        payments=told,
        alarms={payment["payment_id"]: payment["alarm"] for payment in payments.values() if payment["alarm"]},
        bills=by_bill((bill["bill_id"], item, paid) for bill in bills.values() for item, paid in bill["paid"].items()),
        lines=by_bill((str(line["order"]), str(key), line["paid_quantity"]) for key, line in lines.items()),
    )


def by_bill(paid: Iterable[tuple[str, str, Any]]) -> dict[str, Quantities]:
    """Sums by bill and item, without those of nothing."""
    sums: dict[str, Quantities] = {}
    for bill, item, quantity in paid:
        if Decimal(quantity):
            of_bill = sums.setdefault(bill, {})
            of_bill[item] = of_bill.get(item, Decimal(0)) + Decimal(quantity)
    return sums


def as_qerko_knows(qerko: Qerko) -> Books:
    """The same books as they should be."""
    paid = [payment for payment in qerko.payments if payment.state == "PAID"]
    sums = by_bill((payment.bill.id, item.id, item.quantity) for payment in paid for item in payment.items)
    return Books(
        payments={
            payment.id: (
                "paid" if payment in paid else "cancelled",
                payment.bill.id,
                {item.id: item.quantity for item in payment.items},
            )
            for payment in qerko.payments
        },
        alarms={},
        bills=sums,
        lines=sums,
    )


@pytest.mark.process
def test_everybody_agrees_in_the_end(servers: dict[str, str]) -> None:
    found: list[str] = []
    with an_evening(servers, found) as evening:
        with ThreadPoolExecutor(GUESTS) as guests:
            for guest in [guests.submit(evening.a_guest) for _ in range(GUESTS)]:
                guest.result()
        assert evening.qerko.await_errands(60), "some end of a payment was never answered"
        until(evening.reconcile, seconds=60)
        evening.staff.require_running()
        books, wanted = read_books(evening.stage), as_qerko_knows(evening.qerko)

    # What never arrived is not paid, and in no book.
    never_arrived = wanted.payments.keys() - books.payments.keys()
    assert {wanted.payments.pop(payment)[0] for payment in never_arrived} <= {"cancelled"}
    assert books == wanted
    assert len(evening.qerko.payments) >= PAYMENTS
    assert {state for state, *_ in books.payments.values()} == {"paid", "cancelled"}
    assert found == []
