"""Make deliveries as Qerko would, and as nobody should."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.test import Client

from django_qerko import signatures
from django_qerko.keys import ApiKey
from django_qerko.models import Restaurant

KEY = ApiKey("eeeu-g786-zp54-3v1c-db02-e4e1")
OTHER_KEY = ApiKey("wzgd-lbq6-gp6y-xwef-7qrz-4757")

#: Data that each event of protocol section 4 may come with.
SAMPLES: dict[str, Any] = {
    "getTableList": None,
    "getTableContents": {"tableId": "T1", "customerId": None},
    "getBill": {"billId": "42", "customerId": None},
    "searchBills": {"qrIdentifier": "table 1", "customerId": None},
    "paymentStart": {
        "payment": {
            "id": "p1",
            "idBill": "42",
            "idCustomer": None,
            "currency": "CZK",
            "state": "STARTED",
            "items": [{"id": "1", "name": "Pivo", "quantity": "1", "price": "55.00"}],
            "discount": None,
            "parts": [{"total": "55.00", "provider": {"id": "1", "name": "Card", "type": "CARD"}}],
            "tipBrutto": "5.00",
            "tipNetto": "5.00",
            "timestamp": "2026-11-24T19:00:00+01:00",
            "additionalData": None,
        }
    },
    "paymentProcessed": {"paymentId": "p1"},
    "paymentClosed": {"paymentId": "p1", "state": "PAID"},
    "getPostponedReceipt": {"paymentId": "p1"},
    "getMealMenus": {"language": "cs"},
}

_numbers = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class Signed:
    """The bytes of one delivery."""

    url: str
    body: bytes
    headers: dict[str, str]

    def send(self, client: Client | None = None) -> Any:
        """Deliver it through Django's test client, to the path of its address."""
        address = urlsplit(self.url)
        headers = {name: value for name, value in self.headers.items() if name != "Content-Type"}
        return (client or Client()).post(
            f"{address.path}{'?' if address.query else ''}{address.query}",
            data=self.body,
            content_type=self.headers.get("Content-Type", "application/json"),
            headers=headers,
        )


def document(event: str | None, data: Any = ..., *, event_id: str | None = None, **extra: Any) -> dict[str, Any]:
    """The JSON of a delivery; without data, with sensible ones."""
    frame: dict[str, Any] = {"id": event_id or f"event-{next(_numbers)}"}
    if event is not None:
        frame["event"] = event
    frame["data"] = SAMPLES.get(event or "") if data is ... else data
    return frame | extra


def sign(
    body: bytes | Mapping[str, Any],
    *,
    url: str,
    key: ApiKey = KEY,
    schemes: Sequence[str] = signatures.SCHEMES,
    created: float | None = None,
    lifetime: float = 60,
    components: Sequence[signatures.Component] = ("@method", "@path", "content-digest"),
) -> Signed:
    """A delivery that is signed; a mapping becomes JSON, with ``created`` and ``expires`` where only the HMAC signs."""
    now = time.time() if created is None else created
    if isinstance(body, Mapping):
        window = {} if signatures.RFC9421 in schemes else {"created": int(now), "expires": int(now + lifetime)}
        body = json.dumps(window | dict(body)).encode()
    headers = {"Content-Type": "application/json"}
    if signatures.RFC9421 in schemes:
        headers["Content-Digest"] = signatures.content_digest(body)
        request = signatures.SignedRequest(method="POST", target_uri=url, headers=list(headers.items()), body=body)
        headers |= signatures.sign_rfc9421(
            request, key.mac, components=components, created=int(now), expires=int(now + lifetime)
        )
    if signatures.HMAC_SHA256 in schemes:
        headers["Signature-SHA256"] = signatures.sign_hmac(body, key.mac)
    return Signed(url=url, body=body, headers=headers)


def address(restaurant: Restaurant, event: str | None = None, *, origin: str = "http://testserver") -> str:
    """Where Qerko reaches a restaurant."""
    return f"{origin}/qerko/webhook/{restaurant.webhook_token}/{f'{event}/' if event else ''}"


def deliver(restaurant: Restaurant, event: str, data: Any = ..., *, event_id: str | None = None, **how: Any) -> Any:
    """One good delivery through Django's test client; ``how`` as for ``sign``."""
    return sign(document(event, data, event_id=event_id), url=address(restaurant), **how).send()
