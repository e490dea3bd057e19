"""A point of sale in a hundred lines of the standard library, which knows nothing of django_qerko."""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = sys.stdin.readline().strip()
LOCK = threading.Lock()

ITEMS: dict[str, list[Any]] = {
    "1": ["Pivo", Decimal("55.00"), Decimal(4)],
    "2": ["Guláš", Decimal("215.00"), Decimal(2)],
}
PAYMENTS: dict[str, dict[str, Any]] = {}
#: Each event is answered once, and the same again when it is delivered again.
ANSWERED: dict[str, tuple[int, Any]] = {}


class Refused(Exception):
    """An error of the domain."""


def table_list(_: Any) -> Any:
    return [{"id": "T1", "name": "Table 1"}]


def table_contents(data: Any) -> Any:
    if data["tableId"] != "T1":
        raise Refused("NOT_FOUND")
    return [bill({"billId": "7"})] if any(left for *_, left in ITEMS.values()) else []


def bill(data: Any) -> Any:
    if data["billId"] != "7":
        raise Refused("BILL_NOT_FOUND")
    items = [
        {"id": key, "name": name, "price": str(price), "quantity": str(left)}
        for key, (name, price, left) in ITEMS.items()
        if left
    ]
    if not items:
        raise Refused("BILL_CLOSED")
    return {"id": "7", "currency": "CZK", "items": items}


def payment_start(data: Any) -> None:
    payment = data["payment"]
    for item in payment["items"]:
        if not 0 < Decimal(item["quantity"]) <= ITEMS[item["id"]][2]:
            raise Refused("BAD_PARAMETER")
    PAYMENTS[payment["id"]] = payment


def payment_processed(data: Any) -> Any:
    items = PAYMENTS[data["paymentId"]]["items"]
    lines = [{"name": i["name"], "price": i["price"], "quantity": i["quantity"], "taxName": "A"} for i in items]
    return {"receiptInfo": {"billName": "7"}, "items": lines, "taxInfo": []}


def payment_closed(data: Any) -> None:
    payment = PAYMENTS.pop(data["paymentId"], None)
    for item in payment["items"] if payment and data["state"] == "PAID" else []:
        ITEMS[item["id"]][2] -= Decimal(item["quantity"])


EVENTS: dict[str, Callable[[Any], Any]] = {
    "getTableList": table_list,
    "getTableContents": table_contents,
    "getBill": bill,
    "paymentStart": payment_start,
    "paymentProcessed": payment_processed,
    "paymentClosed": payment_closed,
}


def answer(body: bytes, signature: str) -> tuple[int, Any]:
    if not hmac.compare_digest(hmac.new(KEY.encode(), body, hashlib.sha256).hexdigest(), signature):
        return 401, {"code": "UNAUTHORIZED", "message": "No."}
    event = json.loads(body)
    if not datetime.fromisoformat(event["created"]) <= datetime.now(UTC) <= datetime.fromisoformat(event["expires"]):
        return 410, {"code": "TIME_LIMIT_EXPIRED", "message": "Not now."}
    with LOCK:
        if event["id"] not in ANSWERED:
            try:
                ANSWERED[event["id"]] = 200, EVENTS[event["event"]](event["data"])
            except (Refused, KeyError) as refused:
                code = str(refused) if isinstance(refused, Refused) else "NOT_FOUND"
                ANSWERED[event["id"]] = 422, {"code": code, "message": "No."}
        return ANSWERED[event["id"]]


class Webhook(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status, said = answer(body, self.headers.get("Signature-SHA256", ""))
        document = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(document)))
        self.end_headers()
        self.wfile.write(document)

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""


server = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
sys.stdout.write(f"http://127.0.0.1:{server.server_port}/\n")
sys.stdout.flush()
server.serve_forever()
