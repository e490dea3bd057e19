"""Orders: nothing public describes them, so what Qerko sends passes through whole, and so does what is answered."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.dispatch import Signal

from django_qerko import tasks
from django_qerko.answers import LATER, NOTHING, Json
from django_qerko.events import Event
from django_qerko.exceptions import DomainError
from django_qerko.models import Reply, Restaurant, WebhookEvent
from django_qerko.replying import reply_later
from django_qerko.signals import event_received
from example_project.pub import handlers
from tests.deliveries import address, deliver, document, sign

Answering = Callable[[Signal, Any], None]

ORDER_EVENTS = ["getMealMenus", "orderPrepare", "orderStart", "orderMarkAsPaid", "orderClose"]
PAYLOAD = {"orderId": "o-1", "items": [{"meal": {"id": "7", "note": "bez cibule"}}], "paid": False, "table": None}
EXACT = "12345678901234567.890"
ANSWERS: list[Any] = [
    {"menus": [{"name": "Pivo", "items": [{"price": "65.00"}]}]},
    [],
    [1, "two", None],
    "a word",
    7,
    True,
    None,
]

pytestmark = pytest.mark.parametrize("name", ORDER_EVENTS)


def said(event: WebhookEvent | Reply) -> Any:
    return json.loads(bytes(event.answer or b""))


def test_an_order_arrives_with_its_whole_payload(restaurant: Restaurant, answering: Answering, name: str) -> None:
    heard: list[tuple[Event, Restaurant]] = []

    def listen(event: Event, restaurant: Restaurant, **_: Any) -> Json:
        heard.append((event, restaurant))
        return Json(None)

    answering(event_received, listen)

    # A number that no float holds.
    body = json.dumps(document(name, PAYLOAD | {"total": "TOTAL"}, event_id="e-1")).replace('"TOTAL"', EXACT)
    response = sign(body.encode(), url=address(restaurant)).send()

    assert (response.status_code, response.content) == (200, b"null")
    ((event, whose),) = heard
    assert (event.name, event.id, whose) == (name, "e-1", restaurant)
    assert event.data == PAYLOAD | {"total": Decimal(EXACT)}


@pytest.mark.parametrize("answer", ANSWERS, ids=str)
def test_an_order_is_answered_with_any_json(
    restaurant: Restaurant, answering: Answering, name: str, answer: Any
) -> None:
    answering(event_received, Json(answer))

    response = deliver(restaurant, name, PAYLOAD)

    assert (response.status_code, json.loads(response.content)) == (200, answer)


@pytest.mark.parametrize("answer", ANSWERS, ids=str)
def test_an_order_is_answered_in_the_queue(
    restaurant: Restaurant, answering: Answering, settings: Any, name: str, answer: Any
) -> None:
    settings.QERKO = settings.QERKO | {"ANSWER_LATER": [name]}
    answering(event_received, Json(answer))

    response = deliver(restaurant, name, PAYLOAD)
    record = WebhookEvent.objects.get()
    tasks.handle_event(record.pk)

    assert response.status_code == 202
    reply = record.replies.get()
    assert (said(reply), reply.is_error) == (answer, False)


def test_an_order_is_answered_when_the_kitchen_knows(restaurant: Restaurant, answering: Answering, name: str) -> None:
    answering(event_received, LATER)

    response = deliver(restaurant, name, PAYLOAD)
    record = WebhookEvent.objects.get()
    reply_later(record, Json({"ready": "19:30"}))

    assert response.status_code == 202
    assert said(record.replies.get()) == {"ready": "19:30"}


def test_null_needs_no_wrapping(restaurant: Restaurant, answering: Answering, name: str) -> None:
    answering(event_received, NOTHING)

    response = deliver(restaurant, name, PAYLOAD)

    assert (response.status_code, response.content) == (200, b"null")


def test_an_order_is_refused(restaurant: Restaurant, answering: Answering, name: str) -> None:
    def refuse(**_: Any) -> None:
        raise DomainError("SOLD_OUT", "The soup is out.")

    answering(event_received, refuse)

    response = deliver(restaurant, name, PAYLOAD)

    assert (response.status_code, json.loads(response.content)) == (
        422,
        {"code": "SOLD_OUT", "message": "The soup is out."},
    )


def test_the_pub_answers_with_its_menu_and_takes_no_orders(
    restaurant: Restaurant, answering: Answering, name: str
) -> None:
    answering(event_received, handlers.show_menu)

    response = deliver(restaurant, name, PAYLOAD)

    answer = json.loads(response.content)
    if name != "getMealMenus":
        assert (response.status_code, answer["code"]) == (422, "NO_SUCH_METHOD")
        return
    assert (response.status_code, answer["currency"]) == (200, "CZK")
    assert [menu["name"] for menu in answer["menus"]] == ["Pivo", "Nealko, káva a ostré", "Z kuchyně"]
    assert {"name": "Kulajda", "price": "79.00"} in answer["menus"][2]["items"]
