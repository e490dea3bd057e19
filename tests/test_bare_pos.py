"""The sandbox needs nothing of a point of sale but a URL and a key: one of a hundred lines, without our package."""

from __future__ import annotations

import ast
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import pytest
import requests

from django_qerko.sandbox.qerko import Exchange, Manners, Pauses, PointOfSale, Qerko, Reply
from tests.deliveries import KEY
from tests.servers import ROOT
from tests.workers import until

BARE_POS = Path(__file__).with_name("bare_pos.py")
BEER, GOULASH = "1", "2"


@pytest.fixture
def pos() -> Iterator[PointOfSale]:
    with subprocess.Popen(
        [sys.executable, str(BARE_POS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # It complains about every line that is cut.
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    ) as process:
        say, hear = cast("IO[str]", process.stdin), cast("IO[str]", process.stdout)
        say.write(f"{KEY.reveal()}\n")
        say.flush()
        try:
            yield PointOfSale(url=hear.readline().strip(), api_key=KEY, name="A bare one")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def left(qerko: Qerko, pos: PointOfSale) -> dict[str, str]:
    """How much of which item is still to be paid; nothing where the bill is closed."""
    turn = qerko.ask_and_wait(pos, "getBill", {"billId": "7", "customerId": None})
    return {item["id"]: item["quantity"] for item in turn.answer["items"]} if turn.is_answered else {}


def test_it_knows_nothing_of_this_package() -> None:
    tree = ast.parse(BARE_POS.read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)} | {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }

    assert {str(name).partition(".")[0] for name in imported} <= sys.stdlib_module_names
    assert len(BARE_POS.read_text().splitlines()) < 130


@pytest.mark.process
@pytest.mark.once
def test_an_evening_is_played_with_it(pos: PointOfSale) -> None:
    with Qerko() as qerko:
        tables = qerko.ask(pos, "getTableList").answer
        bill = qerko.ask(pos, "getTableContents", {"tableId": tables[0]["id"], "customerId": None}).answer[0]
        first = qerko.pay(pos, bill, items={BEER: 1, GOULASH: "0.5"}, tip=10)
        again = qerko.redeliver(first.exchanges[-1])
        after_one = left(qerko, pos)
        left_alone = qerko.close_payment(qerko.start_payment(pos, bill, items={BEER: 1}))
        too_much = qerko.pay(pos, bill, items={BEER: 4})
        after_three = left(qerko, pos)
        last = qerko.pay(pos, qerko.ask(pos, "getBill", {"billId": "7", "customerId": None}).answer)
        forged = qerko.ask(pos, "getTableList", tamper="body")
        old = qerko.ask(pos, "getTableList", age=600)
        unknown = [
            qerko.ask(pos, event, {"tableId": "T9", "billId": "9", "customerId": None}).error_code
            for event in ("getTableContents", "getBill", "orderStart")
        ]
        said = qerko.said

    assert [story.state for story in (first, left_alone, too_much, last)] == ["PAID", "CANCELLED", "CANCELLED", "PAID"]
    assert first.receipt
    assert (again.status, after_one) == (200, {BEER: "3", GOULASH: "1.5"})
    assert after_three == after_one
    assert (forged.status, old.status) == (401, 410)
    assert unknown == ["NOT_FOUND", "BILL_NOT_FOUND", "NOT_FOUND"]
    assert [finding for one in said for finding in one.findings] == []


@pytest.mark.process
@pytest.mark.once
def test_an_evening_with_a_bad_qerko_is_played_with_it(pos: PointOfSale) -> None:
    found: list[str] = []

    def judged(said: Exchange | Reply) -> None:
        found.extend(map(str, said.findings))

    manners = Manners(cut=0.2, twice=0.3, forge=0.3, unknown_members=True)
    pauses = Pauses(first=0.05, longest=0.2)
    with Qerko(on_exchange=judged, manners=manners, seed=7, closing_pauses=pauses, timeout=5) as qerko:
        for _ in range(30):
            turn = qerko.ask_and_wait(pos, "getBill", {"billId": "7", "customerId": None})
            if turn.is_answered:
                qerko.pay(pos, turn.answer, items={item["id"]: "0.5" for item in turn.answer["items"][:1]})
        assert qerko.await_errands(20)
        paid = sum(item.quantity for one in qerko.payments if one.state == "PAID" for item in one.items)
    with Qerko() as good:
        rest = sum(map(float, left(good, pos).values()))

    assert paid
    assert rest == 6 - float(paid)
    assert found == []


@pytest.mark.process
@pytest.mark.once
def test_a_guest_pays_on_the_phone_without_any_project(pos: PointOfSale) -> None:
    with a_sandbox(pos) as (url, process):
        payment = f"{url}1/payments/5f0c1f6e-0000-4000-8000-000000000001/"
        bill = requests.get(f"{url}1/bills/7/", timeout=20)
        requests.post(f"{url}1/pay/7/", data={"payment": payment.split("/")[-2], f"q-{BEER}": "1"}, timeout=20)
        until(lambda: 'value="confirm"' in requests.get(payment, timeout=20).text, seconds=20)
        requests.post(f"{payment}decide/", data={"decision": "confirm"}, timeout=20)
        until(lambda: "To the tables" in requests.get(payment, timeout=20).text, seconds=20)
        process.send_signal(signal.SIGINT)
        said = cast("IO[str]", process.stdout).read()
        status = process.wait(20)
    with Qerko() as qerko:
        rest = left(qerko, pos)

    assert "Guláš" in bill.text
    assert rest == {BEER: "3", GOULASH: "2"}
    assert [line.split()[1] for line in said.splitlines() if " payment" in line] == ["✓"] * 3
    assert (status, said.splitlines()[-1]) == (0, "The sandbox is closed.")
    assert KEY.reveal() not in said


@contextmanager
def a_sandbox(pos: PointOfSale) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a sandbox that was given a URL and a key, and its process."""
    words = ["--url", pos.url, "--api-key", "-", "--port", "0"]
    with subprocess.Popen(
        [sys.executable, "-m", "django_qerko.sandbox", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        say, hear = cast("IO[str]", process.stdin), cast("IO[str]", process.stdout)
        say.write(f"{KEY.reveal()}\n")
        say.close()
        try:
            found = re.search(r"http://\S+/", hear.readline())
            assert found
            yield found[0], process
        finally:
            process.kill()
