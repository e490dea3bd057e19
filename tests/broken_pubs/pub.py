"""A pub that does all that the protocol asks for, in the standard library; its children break one thing each."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

KEY: Final = "eeeu-g786-zp54-3v1c-db02-e4e1"
POS_ID: Final = "0b2f5c1e-7f0a-4d53-9a3e-6a2f1d9c8b47"
PATH: Final = "/hook/"
LARGEST: Final = 100_000
TAX: Final = "VAT"
CURRENCY: Final = "CZK"

Said = tuple[int, Any]


class Refused(Exception):
    """An error of the domain: its code."""


class Broke(Exception):
    """A handler broke."""


class TurnedAway(Exception):
    """A delivery that is not answered: its status, and a code."""


@dataclass
class Line:
    name: str
    price: Decimal
    left: Decimal


@dataclass
class Paying:
    """A payment in progress, or over."""

    bill: str
    items: list[dict[str, Any]]
    state: str = "STARTED"
    receipt: Any = None


def opened() -> dict[str, dict[str, Line]]:
    """Bills by their ids, and lines by theirs."""
    return {
        number: {
            f"{number}-beer": Line("Pivo", Decimal("55.00"), Decimal(6)),
            f"{number}-goulash": Line("Guláš", Decimal("215.50"), Decimal(1)),
        }
        for number in ("1", "2", "3")
    }


@dataclass
class Pub:
    """``later`` are the events that are answered 202, and then through ``/reply`` under ``api_url``.

    ``patience`` is how long Qerko waits for it, in seconds; fifteen are too many for most tests.
    """

    patience: ClassVar[float] = 5.0
    later: frozenset[str] = frozenset({"paymentStart", "paymentProcessed", "paymentClosed"})
    postpones: bool = False
    api_url: str = ""
    bills: dict[str, dict[str, Line]] = field(default_factory=opened)
    payments: dict[str, Paying] = field(default_factory=dict)
    known: dict[str, Said] = field(default_factory=dict)
    lock: Any = field(default_factory=threading.RLock)
    threads: list[threading.Thread] = field(default_factory=list)
    serials: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{PATH}"

    # -- The door ------------------------------------------------------------------------------------

    def hear(self, path: str, headers: Mapping[str, str], body: bytes) -> Said:
        """A delivery, and what is said to it at once."""
        try:
            self.require_address(path)
            self.require_size(body)
            self.require_signature(headers, body)
            document = self.read(body)
            self.require_time(document)
        except TurnedAway as away:
            status, code = away.args
            return status, self.error(code, headers, body)
        name = self.name_of(path, document)
        return self.answer_later(name, document) if name in self.later else self.answer(name, document)

    def require_address(self, path: str) -> None:
        if not path.startswith(PATH):
            raise TurnedAway(404, "NOT_FOUND")

    def require_size(self, body: bytes) -> None:
        if len(body) > LARGEST:
            raise TurnedAway(413, "BAD_PAYLOAD")

    def require_signature(self, headers: Mapping[str, str], body: bytes) -> None:
        if not hmac.compare_digest(self.seal(body), headers.get("Signature-SHA256", "")):
            raise TurnedAway(401, "UNAUTHORIZED")

    def read(self, body: bytes) -> Any:
        try:
            return json.loads(body)
        except ValueError:
            raise TurnedAway(400, "BAD_PAYLOAD") from None

    def require_time(self, document: Any) -> None:
        created, expires = (datetime.fromisoformat(document[name]) for name in ("created", "expires"))
        if not created <= datetime.now(UTC) <= expires:
            raise TurnedAway(410, "TIME_LIMIT_EXPIRED")

    def error(self, code: str | None, headers: Mapping[str, str], body: bytes) -> Any:
        return {"code": code, "message": "No."}

    def seal(self, body: bytes) -> str:
        return hmac.new(KEY.encode(), body, hashlib.sha256).hexdigest()

    def name_of(self, path: str, document: Any) -> str:
        return str(document.get("event") or path.removeprefix(PATH).strip("/"))

    # -- Events --------------------------------------------------------------------------------------

    def answer(self, name: str, document: Any) -> Said:
        """The answer to an event: the same each time that it is delivered."""
        with self.lock:
            if document["id"] not in self.known:
                self.known[document["id"]] = self.handle(name, document["data"] or {})
            return self.known[document["id"]]

    def handle(self, name: str, data: Any) -> Said:
        ask = getattr(self, f"on_{name}", None)
        try:
            if ask is None:
                raise Refused("NO_SUCH_METHOD")
            return 200, ask(data)
        except Refused as refused:
            return self.refusal(str(refused))
        except Broke:
            return 500, {"code": None, "message": "It broke."}

    def refusal(self, code: str) -> Said:
        return 422, {"code": code, "message": "No."}

    def on_getTableList(self, _: Any) -> Any:  # noqa: N802
        return [{"id": f"T{number}", "name": f"Table {number}"} for number in self.bills]

    def on_getTableContents(self, data: Any) -> Any:  # noqa: N802
        number = named(data, "tableId", "idTable").removeprefix("T")
        bill = self.bill(number)
        return [bill] if bill["items"] else []

    def on_getBill(self, data: Any) -> Any:  # noqa: N802
        bill = self.bill(named(data, "billId", "idBill"))
        if not bill["items"]:
            raise Refused("BILL_CLOSED")
        return bill

    def on_searchBills(self, _: Any) -> Any:  # noqa: N802
        raise Refused("QR_INVALID")

    def on_paymentStart(self, data: Any) -> None:  # noqa: N802
        payment = data["payment"]
        self.require_free(payment["idBill"])
        self.require_currency(payment["currency"])
        for item in payment["items"]:
            self.require_left(self.line(payment["idBill"], item["id"]), Decimal(item["quantity"]))
        self.payments[payment["id"]] = Paying(bill=payment["idBill"], items=payment["items"])

    def on_paymentProcessed(self, data: Any) -> Any:  # noqa: N802
        paying = self.paying(data)
        paying.receipt = self.receipt(paying)
        return self.promise() if self.postpones else paying.receipt

    def on_paymentClosed(self, data: Any) -> None:  # noqa: N802
        paying = self.payments.get(named(data, "paymentId", "idPayment"))
        if paying is not None and paying.state != "PAID":
            paying.state = "PAID" if self.is_paid(data["state"]) else "NOT PAID"
            if paying.state == "PAID":
                self.settle(paying)

    def on_getPostponedReceipt(self, data: Any) -> Any:  # noqa: N802
        return self.paying(data).receipt

    # -- What they need ------------------------------------------------------------------------------

    def bill(self, number: str) -> Any:
        if number not in self.bills:
            raise Refused("BILL_NOT_FOUND")
        items = [
            {"id": key, "name": line.name, "price": self.amount(line.price), "quantity": self.amount(line.left)}
            for key, line in self.bills[number].items()
            if line.left
        ]
        return {"id": number, "currency": CURRENCY, "items": items}

    def amount(self, value: Decimal) -> Any:
        return str(value)

    def require_free(self, bill: str) -> None:
        if any(paying.bill == bill and paying.state == "STARTED" for paying in self.payments.values()):
            raise Refused("ACCESS_DENIED")

    def require_currency(self, currency: str) -> None:
        if currency != CURRENCY:
            raise Refused("BAD_PARAMETER")

    def line(self, bill: str, item: str) -> Line:
        if item not in self.bills[bill]:
            raise Refused("BAD_PARAMETER")
        return self.bills[bill][item]

    def require_left(self, line: Line, quantity: Decimal) -> None:
        if not 0 < quantity <= line.left:
            raise Refused("BAD_PARAMETER")

    def paying(self, data: Any) -> Paying:
        paying = self.payments.get(named(data, "paymentId", "idPayment"))
        if paying is None:
            raise Refused("NOT_FOUND")
        return paying

    def is_paid(self, state: str) -> bool:
        return state == "PAID"

    def settle(self, paying: Paying) -> None:
        for item in paying.items:
            self.bills[paying.bill][item["id"]].left -= Decimal(item["quantity"])

    def receipt(self, paying: Paying) -> Any:
        self.serials += 1
        items = [
            {"name": item["name"], "price": item["price"], "quantity": item["quantity"], "taxName": TAX}
            for item in paying.items
        ]
        tax = {"name": TAX, "rate": "21", "base": "82.64", "tax": "17.36"}
        return {"receiptInfo": {"serial": str(self.serials)}, "items": items, "taxInfo": [tax]}

    def promise(self) -> Any:
        return {"receiptInfo": {}, "items": [], "taxInfo": [], "receiptDeliveryType": "POSTPONED"}

    # -- Replies -------------------------------------------------------------------------------------

    def answer_later(self, name: str, document: Any) -> Said:
        self.threads.append(threading.Thread(target=self.reply, args=(name, document)))
        self.threads[-1].start()
        return 202, None

    def reply(self, name: str, document: Any) -> None:
        status, said = self.answer(name, document)
        self.send({"id": document["id"], "event": name, "result" if status == 200 else "error": said})

    def send(self, letter: Any) -> None:
        place = urlsplit(self.api_url)
        wire = http.client.HTTPConnection(place.netloc, timeout=20)
        # Qerko may be gone before the last of them leaves.
        with closing(wire), suppress(OSError, http.client.HTTPException):
            wire.request("POST", f"{place.path}/reply", body=json.dumps(letter), headers=self.credentials())
            wire.getresponse().read()

    def wait_for_letters(self) -> None:
        for replying in tuple(self.threads):
            replying.join()

    def credentials(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {KEY}", "Pos-Id": POS_ID, "Content-Type": "application/json"}


def named(data: Any, newer: str, older: str) -> str:
    """An identifier under either of its names."""
    return str(data.get(newer) or data[older])


class _Webhook(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    #: What is said leaves at once, headers and body together.
    wbufsize = -1

    def __init__(self, pub: Pub, *args: Any) -> None:
        self.pub = pub
        super().__init__(*args)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status, said = self.pub.hear(self.path, dict(self.headers.items()), body)
        document = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(document)))
        self.end_headers()
        self.wfile.write(document)

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 50


@contextmanager
def opening(pub: Pub) -> Iterator[Pub]:
    """Open a pub on this machine."""
    with _Server(("127.0.0.1", 0), partial(_Webhook, pub)) as server:
        pub.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield pub
        finally:
            server.shutdown()
            thread.join()
            pub.wait_for_letters()
