"""Play Qerko inside a test: it calls through Django's test client, takes replies over HTTP, and remembers them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlsplit

from django.db import router
from django.test import Client, override_settings

from django_qerko import conf
from django_qerko.answers import Bill
from django_qerko.exceptions import Rejection
from django_qerko.models import Payment, Restaurant, WebhookEvent
from django_qerko.sandbox import payments
from django_qerko.sandbox.calling import Cut, Heard, Line
from django_qerko.sandbox.letterbox import Letterbox
from django_qerko.sandbox.payments import PAID, Payments
from django_qerko.sandbox.qerko import PATIENCE, Exchange, PointOfSale, Qerko, Reply
from django_qerko.sandbox.server import SandboxServer
from django_qerko.sandbox.signing import SignedDelivery
from django_qerko.testing.deadlines import is_frozen
from django_qerko.testing.deliveries import called_origin
from django_qerko.testing.isolating import isolated
from django_qerko.testing.listening import Address
from django_qerko.testing.payloads import make_payload
from django_qerko.testing.working import work

#: Who we are where a project's test settings do not say; Qerko's sandbox takes any UUID (protocol section 1, D).
_POS_ID: Final = str(uuid.UUID(int=8765))


class TestClientLine(Line):
    """Django's test client in place of a connection, so that all happens in the test's own thread and transaction."""

    __test__ = False

    def __init__(self) -> None:
        super().__init__(PATIENCE)
        #: Why the last delivery was turned away at the door, if it was.
        self.rejection: Rejection | None = None

    def call(self, delivery: SignedDelivery, *, cut: Cut | None = None) -> Heard:
        """Deliver, and hear the whole answer: this line is never cut."""
        started = time.perf_counter()
        with isolated() as turned_away:
            response = post(delivery)
        self.rejection = next(iter(turned_away), None)
        return Heard(
            status=response.status_code,
            headers=dict(response.headers),
            body=response.getvalue(),
            milliseconds=(time.perf_counter() - started) * 1000,
        )


class InProcessQerko(Qerko):
    """The sandbox's Qerko, calling through Django's test client; what it would do in the background it leaves."""

    def __init__(self) -> None:
        super().__init__(allow_remote=True, closing_pauses=(), receipt_pauses=())
        self._line = self._test_line = TestClientLine()

    @property
    def rejection(self) -> Rejection | None:
        """Why the last delivery was turned away, in our own words; ``None`` where it was let in."""
        return self._test_line.rejection

    def await_reply(self, exchange: Exchange, timeout: float | None = None) -> Reply | None:
        """Let the worker work, and give the reply that came of it; there is nothing to wait for afterwards."""
        work()
        return super().await_reply(exchange, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told(payments.Payment):
    """A payment as the point of sale was told of it, member for member."""

    told: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        return {**self.told, "state": self.state}


class _KnownPayments(Payments):
    def put(self, payment: payments.Payment) -> None:
        """From now on this is what is known of it, whatever was before."""
        with self._lock:
            self._payments[payment.id] = payment


class _OpenLetterbox(Letterbox):
    def expect_anyway(self, pos: PointOfSale, record: WebhookEvent, *, number: int) -> None:
        """Somebody else delivered an event: before this Qerko was there, or by another client."""
        with self._changed:
            is_known = (pos.api_key, record.event_id) in self._questions
        if not is_known:
            self.expect(pos, record.name, record.event_id, number=number, asked_at=record.deadline_at.timestamp())


class RecordingQerko(InProcessQerko):
    """A Qerko that listens on this machine, at a free port, and ``QERKO["BASE_URL"]`` leads to it while it does.

    Used as a context manager. It takes ``/reply``, ``/get-payment``, ``/cancel-payment`` and ``/who-am-i`` of these
    restaurants, and of every other that it delivers to. ``replies`` are what came, oldest first: each with its
    ``event``, ``event_id``, ``answer``, ``is_error``, with the ``status`` that it got, and with ``findings``, which are
    violations of the protocol. Whatever the sandbox's Qerko can do, it can: ``be_busy(2)`` answers the next two replies
    with 503.
    """

    def __init__(self, *restaurants: Restaurant) -> None:
        super().__init__()
        self._payments: _KnownPayments = _KnownPayments()
        self._letterbox = self._open_letterbox = _OpenLetterbox(PATIENCE, _clock)
        self._known: list[PointOfSale] = []
        self._server = SandboxServer(self, self._known)
        self._open = ExitStack()
        for restaurant in restaurants:
            self.meet(restaurant)

    def __enter__(self) -> RecordingQerko:
        given = conf.given()
        address = Address(self._server.api_url, self)
        self._open.enter_context(self._server)
        self._open.enter_context(
            override_settings(QERKO={**given, "POS_ID": given.get("POS_ID") or _POS_ID, "BASE_URL": address})
        )
        return self

    def __exit__(self, *exc: object) -> None:
        self._open.close()
        super().__exit__(*exc)

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._server.api_url

    def meet(self, restaurant: Restaurant) -> PointOfSale:
        """Know a restaurant by its present key; its calls are answered from now on."""
        pos = point_of_sale(restaurant)
        if pos not in self._known:
            self._known.append(pos)
        return pos

    def expect(self, record: WebhookEvent) -> None:
        """Take a reply to this event, whoever delivered it."""
        number = self._conversation.next_number()
        self._open_letterbox.expect_anyway(self.meet(record.restaurant), record, number=number)

    def knows(self, payment: Payment | str, state: str = PAID, *, restaurant: Restaurant | None = None) -> None:
        """Let ``/get-payment`` answer with this state; of a payment that it does not know, it says 404.

        ``payment`` is one of our rows, or an id: then it is the payment of our row, if there is one of this restaurant,
        and the sample payment under that id if not. Without ``restaurant`` it is the only one that it knows. Raises
        ValueError where that is not one.
        """
        row = payment if isinstance(payment, Payment) else self._row(payment, restaurant)
        pos = self._restaurant(row.restaurant if row else restaurant)
        told = row.payload if row else make_payload("paymentStart", payment_id=payment)["payment"]
        self._payments.put(_known(told, pos, state))

    def _row(self, payment_id: str, restaurant: Restaurant | None) -> Payment | None:
        rows = Payment.objects.using(router.db_for_write(Payment)).select_related("restaurant", "bill")
        of_restaurant = {"restaurant": restaurant} if restaurant else {}
        return rows.filter(payment_id=payment_id, **of_restaurant).first()

    def _restaurant(self, restaurant: Restaurant | None) -> PointOfSale:
        if restaurant is not None:
            return self.meet(restaurant)
        if len(self._known) != 1:
            raise ValueError(f"This Qerko knows {len(self._known)} restaurants: say whose payment it is.")
        return self._known[0]


def recording_qerko(*restaurants: Restaurant) -> RecordingQerko:
    """A Qerko that listens while it is open, as a context manager: ``with recording_qerko(restaurant) as qerko: …``."""
    return RecordingQerko(*restaurants)


def point_of_sale(restaurant: Restaurant) -> PointOfSale:
    """A restaurant as Qerko knows it. Raises ValueError where it has no key that can be read."""
    url = f"{called_origin()}{restaurant.webhook_path}"
    return PointOfSale(url=url, api_key=restaurant.api_key, name=restaurant.name)


def post(delivery: SignedDelivery, client: Client | None = None) -> Any:
    """Send a delivery through Django's test client, with CSRF checks on, as a stranger's request has them."""
    address = urlsplit(delivery.url)
    headers = {name: value for name, value in delivery.headers.items() if name != "Content-Type"}
    return (client or Client(enforce_csrf_checks=True)).post(
        address.path,
        data=delivery.body,
        content_type=delivery.headers["Content-Type"],
        headers=headers,
        secure=address.scheme == "https",
    )


def _clock() -> float:
    """The time at the letterbox, which stands still where deadlines are frozen."""
    return 0.0 if is_frozen() else time.time()


def _known(told: Mapping[str, Any], pos: PointOfSale, state: str) -> payments.Payment:
    return _Told(
        id=told["id"],
        pos=pos,
        bill=Bill(id=told["idBill"], currency=told["currency"], items=()),
        items=(),
        tip=Decimal(0),
        begun_at=datetime.now(tz=UTC),
        history=(payments.STARTED, state),
        told=told,
    )
