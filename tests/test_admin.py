"""Staff read the history, change nothing, and see no key."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_qerko.models import Attempt, Bill, Payment, Rejection, Reply, Restaurant, RestaurantKey, WebhookEvent
from django_qerko.tending import timeline
from tests.deliveries import KEY, OTHER_KEY
from tests.records import NOON, RECEIPT, SECOND, begin, enter, knock, open_bill, store

MODELS = [model for model in apps.get_app_config("django_qerko").get_models() if admin.site.is_registered(model)]
every_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)


@pytest.fixture
def staff(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("staff"))
    return client


def make(model: type[Any], restaurant: Restaurant) -> Any:
    """One more row of a model."""
    number = f"{model.objects.count()}"
    makers: dict[type[Any], Callable[[], Any]] = {
        Restaurant: lambda: Restaurant.objects.create(name=number),
        RestaurantKey: lambda: RestaurantKey.objects.create(restaurant=restaurant, secret=KEY.encrypt()),
        WebhookEvent: lambda: enter(restaurant),
        Bill: lambda: open_bill(restaurant),
        Payment: lambda: begin(restaurant),
        Reply: lambda: store(enter(restaurant)),
        Attempt: lambda: knock(make(Reply, restaurant)),
        Rejection: lambda: Rejection.objects.create(
            slot=number, reason="expired", hour=NOON, number=1, first_at=NOON, last_at=NOON, restaurant=restaurant
        ),
    }
    return makers[model]()


def address(model: type[Any], page: str = "changelist", *arguments: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=arguments)


def page_of(client: Client, row: Any) -> str:
    """The page of one row."""
    return client.get(address(type(row), "change", row.pk)).content.decode()


def listed(client: Client, model: type[Any], **chosen: str) -> list[Any]:
    """The rows of a list."""
    response = client.get(address(model), chosen)
    assert response.status_code == 200
    return list(response.context["cl"].result_list)


@every_model
def test_every_model_has_its_pages(staff: Client, restaurant: Restaurant, model: type[Any]) -> None:
    row = make(model, restaurant)

    assert row in listed(staff, model)
    assert str(row) in page_of(staff, row)


@every_model
def test_nothing_is_added_changed_or_deleted(staff: Client, restaurant: Restaurant, model: type[Any]) -> None:
    row = make(model, restaurant)

    assert staff.get(address(model, "add")).status_code == 403
    assert staff.post(address(model, "change", row.pk), {}).status_code == 403
    assert staff.get(address(model, "delete", row.pk)).status_code == 403
    staff.post(address(model), {"action": "delete_selected", "_selected_action": row.pk})
    assert "<input type=submit" not in page_of(staff, row)
    assert type(row).objects.filter(pk=row.pk).exists()


@every_model
def test_only_who_may_look_sees_a_page(restaurant: Restaurant, model: type[Any]) -> None:
    waiter, client = User.objects.create_user("waiter", is_staff=True), Client()
    client.force_login(waiter)
    assert client.get(address(model)).status_code == 403

    waiter.user_permissions.set(Permission.objects.filter(codename=f"view_{model._meta.model_name}"))

    assert client.get(address(model)).status_code == 200


@every_model
def test_a_list_takes_as_many_statements_for_many_rows_as_for_two(
    staff: Client, restaurant: Restaurant, model: type[Any]
) -> None:
    def statements(rows: int) -> int:
        for _ in range(rows):
            make(model, restaurant)
        with CaptureQueriesContext(connection) as captured:
            staff.get(address(model))
        return len(captured)

    assert statements(2) == statements(10)


def reads_of(client: Client, page: str) -> list[str]:
    """The statements about our tables that a page takes, in lower case."""
    with CaptureQueriesContext(connection) as captured:
        assert client.get(page).status_code == 200
    return [query["sql"].lower() for query in captured if "django_qerko_" in query["sql"]]


def test_an_events_list_shows_the_state_early_and_ids_shortened(staff: Client, restaurant: Restaurant) -> None:
    enter(restaurant, event_id="5f0c1f6e-<i>", bill_id="42")

    page = staff.get(address(WebhookEvent)).content.decode()

    columns = re.findall('<t[dh] class="field-([a-z_]+)', page)
    assert columns[:4] == ["received", "name", "state", "event"]
    assert '<span class="qerko" title="5f0c1f6e-&lt;i&gt;">5f0c1f6e-&lt;i&gt;</span>' in page
    assert '<td class="field-payment">-</td>' in page


@pytest.mark.parametrize("model", [WebhookEvent, Reply, Attempt, Bill, Payment], ids=lambda model: model.__name__)
def test_a_list_reads_nothing_large(staff: Client, restaurant: Restaurant, model: type[Any]) -> None:
    make(model, restaurant)

    reads = reads_of(staff, address(model))

    # The restaurants to filter by, how many rows there are, and the rows.
    assert len(reads) == 3
    large = ("payload", "answer", "headers", "receipt", "snapshot", "stood", "additional_data")
    assert not any(column in sql.replace("snapshot_at", "") for sql in reads for column in large)


@pytest.mark.parametrize("rows", [0, 2])
def test_an_events_page_takes_as_many_statements_however_much_was_replied(
    staff: Client, restaurant: Restaurant, rows: int
) -> None:
    record = enter(restaurant)
    for _ in range(rows):
        reply = store(record)
        knock(reply)
        knock(reply)

    reads = reads_of(staff, address(WebhookEvent, "change", record.pk))

    # Its row, and steps of payments; its replies for the moments and for themselves, with attempts where there are any.
    assert len(reads) == (6 if rows else 4)


@pytest.mark.parametrize(("model", "number"), [(Reply, 2), (Attempt, 1), (Bill, 3), (Payment, 5)], ids=str)
def test_a_page_reads_its_row_once(staff: Client, restaurant: Restaurant, model: type[Any], number: int) -> None:
    row = make(model, restaurant)
    if isinstance(row, Reply):
        knock(row)
        knock(row)

    assert len(reads_of(staff, address(model, "change", row.pk))) == number


def test_an_events_page_tells_the_whole_story(staff: Client, restaurant: Restaurant) -> None:
    record = enter(
        restaurant,
        state="failed",
        payload=b'{"amount":12345678901234567.89,"name":"<b>Pivo</b>"}',
        answer=b'{"code":null}',
        error="Traceback:\n  ZeroDivisionError",
    )

    page = page_of(staff, record)

    for part in (
        "&quot;amount&quot;: 12345678901234567.89",
        "&lt;b&gt;Pivo&lt;/b&gt;",
        "&quot;code&quot;: null",
        "Traceback:\n  ZeroDivisionError",
        "&quot;Content-Type&quot;: &quot;application/json&quot;",
        "failed, answered 500, after 12.0 ms",
    ):
        assert part in page
    assert "<b>Pivo" not in page


def test_an_event_that_nobody_handled_has_dashes(staff: Client, restaurant: Restaurant) -> None:
    page = page_of(staff, enter(restaurant, state="received"))

    assert "None" not in page


def test_a_payload_that_is_no_json_is_shown_as_escapes(staff: Client, restaurant: Restaurant) -> None:
    assert r"\x1b[2J\xff" in page_of(staff, enter(restaurant, payload=b"\x1b[2J\xff"))


def test_events_are_filtered_by_their_names(staff: Client, restaurant: Restaurant) -> None:
    bill, menu = enter(restaurant, "getBill"), enter(restaurant, "getMealMenus")

    assert listed(staff, WebhookEvent) == [menu, bill]
    assert listed(staff, WebhookEvent, event="getBill") == [bill]
    assert listed(staff, WebhookEvent, event="other") == [menu]
    assert len(listed(staff, WebhookEvent, event="nobody's \0")) == WebhookEvent.objects.count()


@pytest.mark.parametrize(
    ("typed", "found"), [("ab", ["abc"]), ("b", []), ("42", ["abc"]), ("p1", ["xyz"]), ("", ["xyz", "abc"])]
)
def test_events_are_searched_by_the_beginning_of_an_id(
    staff: Client, restaurant: Restaurant, typed: str, found: list[str]
) -> None:
    enter(restaurant, event_id="abc", bill_id="421")
    enter(restaurant, "paymentProcessed", event_id="xyz", payment_id="p1")

    assert [record.event_id for record in listed(staff, WebhookEvent, q=typed)] == found


def test_a_rejections_page_shows_its_samples(staff: Client, restaurant: Restaurant) -> None:
    Rejection.objects.add(
        restaurant_id=restaurant.pk, reason="expired", hour=NOON, at=NOON, number=7, samples=[{"finding": "Too <late>"}]
    )

    assert "Too &lt;late&gt;" in page_of(staff, Rejection.objects.get())


def test_a_restaurants_page_shows_its_address_and_the_ends_of_its_keys(staff: Client, restaurant: Restaurant) -> None:
    restaurant.add_key(OTHER_KEY)

    page = page_of(staff, restaurant)

    assert restaurant.webhook_path in page
    assert page.count("…e4e1") == page.count("…4757") == 1


def test_restaurants_are_listed_with_the_ends_of_their_keys(staff: Client, restaurant: Restaurant) -> None:
    restaurant.add_key(OTHER_KEY)

    assert "…4757, …e4e1" in staff.get(address(Restaurant)).content.decode()


def test_an_events_page_shows_what_was_answered_later(staff: Client, restaurant: Restaurant) -> None:
    record = enter(restaurant, "paymentStart", promised_at=NOON)
    reply = store(record, state="refused", answer=b'{"name":"<i>Pivo</i>"}', is_error=True)
    knock(reply, outcome="unconfirmed", reason="<b>busy</b>")
    knock(reply, outcome="refused")

    page = page_of(staff, record)

    for part in (
        "202 said",
        f"reply {reply.pk} refused: BAD_PAYLOAD",
        "attempt 1: unconfirmed, 503, after 80.0 ms: &lt;b&gt;busy&lt;/b&gt;",
        "attempt 2: refused, 400, after 80.0 ms",
        "&lt;i&gt;Pivo&lt;/i&gt;",
        address(Reply, "change", reply.pk),
    ):
        assert part in page
    assert "<b>busy" not in page


def test_a_replys_page_shows_its_answer_and_its_attempts(staff: Client, restaurant: Restaurant) -> None:
    reply = store(enter(restaurant, event_id="abc"))
    knock(reply, outcome="not_sent", reason="refused:\n  nobody listens")

    page = page_of(staff, reply)

    for part in ("getBill abc", restaurant.name, "&quot;id&quot;: &quot;42&quot;", "Not Sent", "80.0 ms"):
        assert part in page
    assert "refused:\n  nobody listens" in page


def test_an_attempts_page_says_what_became_of_it(staff: Client, restaurant: Restaurant) -> None:
    attempt = knock(store(enter(restaurant, event_id="abc")), outcome="refused", status=422, reason="BILL_CLOSED")

    page = page_of(staff, attempt)

    for part in ("getBill abc", restaurant.name, "Refused", "422", "BILL_CLOSED"):
        assert part in page


def test_replies_are_found_by_the_ids_of_their_event(staff: Client, restaurant: Restaurant) -> None:
    ours = store(enter(restaurant, "paymentStart", event_id="abc", payment_id="p1"))
    store(enter(restaurant, event_id="xyz"), state="delivered")

    assert (
        listed(staff, Reply, q="p1") == listed(staff, Reply, q="ab") == listed(staff, Reply, state="waiting") == [ours]
    )


# -- Bills and payments --------------------------------------------------------------------------


def text_of(client: Client, row: Any) -> str:
    """What is read on the page of one row: a line per cell, without its tags."""
    return re.sub(r"\s*\n\s*", "\n", re.sub(r"<[^>]+>", "\n", page_of(client, row)))


def labelled(client: Client, row: Any, label: str) -> list[str]:
    """What a page shows beside a label."""
    return text_of(client, row).split(f"\n{label}:\n")[1].split("\n")


def test_a_bill_shows_item_by_item_what_is_owed_and_paid(staff: Client, restaurant: Restaurant) -> None:
    bill = open_bill(restaurant, "42")
    begin(restaurant, bill=bill, state="paid", members={"items": [{"id": "1", "quantity": "0.5", "price": "55.00"}]})
    bill.refresh_from_db()
    payment = begin(restaurant, bill=bill)
    bill.refresh_from_db()

    page = page_of(staff, bill)

    assert labelled(staff, bill, "Owed")[0] == "82.50 CZK"
    # The item, its id, its price, told, paid, being paid, left, offered again.
    assert "\nPivo\n1\n55.00\n2\n0.5\n1\n1.5\n-\n" in text_of(staff, bill)
    assert labelled(staff, bill, "Payments")[:4] == [
        *("in progress:", str(payment), "(started)", "all 2 payments of this bill")
    ]
    assert address(Payment, "change", payment.pk) in page
    assert "&quot;name&quot;: &quot;Pivo&quot;" in page
    assert '<strong class="qerko">' not in page


def test_a_bill_leads_to_its_payments_and_to_no_others(staff: Client, restaurant: Restaurant) -> None:
    ours = begin(restaurant, bill=open_bill(restaurant, "4"), state="paid")
    begin(restaurant, bill=open_bill(restaurant, "42"))

    (link,) = re.findall(r'href="([^"]+)">the one payment of this bill', page_of(staff, ours.bill))

    assert list(staff.get(link).context["cl"].result_list) == [ours]


def test_a_bill_that_qerko_was_never_told_of_owes_nobody_knows_what(staff: Client, restaurant: Restaurant) -> None:
    bill = open_bill(restaurant, snapshot=None, snapshot_at=None)

    assert labelled(staff, bill, "Owed")[0] == "Qerko was never told of this bill"
    assert [labelled(staff, bill, label)[0] for label in ("Look at", "Items", "Payments", "As JSON")] == ["-"] * 4


def test_what_was_paid_and_is_not_offered_any_more_is_shown(staff: Client, restaurant: Restaurant) -> None:
    bill = open_bill(restaurant, paid={"<b>": "0.500"}, snapshot=None, snapshot_at=None)

    assert "\n-\n&lt;b&gt;\n-\n-\n0.5\n-\n-\n-\n" in text_of(staff, bill)


def test_paid_items_that_are_offered_again_are_marked_in_words(staff: Client, restaurant: Restaurant) -> None:
    marked = open_bill(restaurant, paid={"1": "1"}, offered_again={"1": "1"})
    plain = open_bill(restaurant)

    assert labelled(staff, marked, "Look at")[0] == "offered again"
    assert staff.get(address(Bill)).content.decode().count('<strong class="qerko">offered again</strong>') == 1
    assert listed(staff, Bill) == [plain, marked]
    assert listed(staff, Bill, offered_again="yes") == [marked]


def test_bills_that_are_being_paid_say_so_in_their_list(staff: Client, restaurant: Restaurant) -> None:
    begin(restaurant)
    open_bill(restaurant)

    page = staff.get(address(Bill)).content.decode()

    assert re.findall('<td class="field-being_paid">(.*?)</td>', page) == ["-", "yes"]


def test_bills_are_filtered_by_state_and_found_by_the_beginning_of_their_id(
    staff: Client, restaurant: Restaurant
) -> None:
    closed, opened = open_bill(restaurant, "421", state="closed", closed_at=NOON), open_bill(restaurant, "142")

    assert listed(staff, Bill, state="open") == listed(staff, Bill, q="1") == [opened]
    assert listed(staff, Bill, state="closed") == listed(staff, Bill, q="42") == [closed]


def test_a_bills_moments_are_told_in_their_order(staff: Client, restaurant: Restaurant) -> None:
    kept: dict[str, Any] = {
        "created_at": NOON,
        "opened_at": NOON,
        "snapshot_at": NOON + 2 * SECOND,
        "settled_at": NOON + SECOND,
    }
    bill = open_bill(restaurant, state="closed", closed_at=NOON + 3 * SECOND, **kept)

    def told() -> list[str]:
        life = re.search('<ol class="qerko">(.*?)</ol>', page_of(staff, bill))
        assert life
        return [line.split(" ", 2)[2] for line in re.findall("<li>(.*?)</li>", life[1])]

    assert told() == ["first heard of", "last paid", "Qerko was last told of it", "last closed"]
    bill.reopen(at=NOON + 4 * SECOND)
    assert told()[-2:] == ["last closed", "opened again"]


def test_a_payments_page_shows_its_money(staff: Client, restaurant: Restaurant) -> None:
    payment = begin(
        restaurant,
        members={
            "items": [
                {"id": "1", "name": "<i>Pivo</i>", "quantity": "0.500", "price": "55.00"},
                {"id": "2", "quantity": "1"},
            ],
            "discount": {"source": "POS", "name": "Happy hour", "value": "10.00"},
            "tipBrutto": "5.5",
            "tipNetto": None,
            "idCustomer": "customer-77",
        },
    )

    text = text_of(staff, payment)

    for part in (
        "\n&lt;i&gt;Pivo&lt;/i&gt;\n1\n0.5\n55.00\n27.50\n",
        "\n2\n1\n-\n-\n",
        "\n55.00\nCard\nCARD\n1\n",
        "\nSum of items:\n27.50 CZK\n",
        "\nTip (tipBrutto):\n5.50 CZK\n",
        "\nTip (tipNetto):\n-\n",
        "&quot;name&quot;: &quot;Happy hour&quot;",
        "\nCustomer id:\ncustomer-77\n",
        "&quot;tipBrutto&quot;: &quot;5.5&quot;",
    ):
        assert part in text
    assert address(Bill, "change", payment.bill.pk) in page_of(staff, payment)


def test_a_payments_steps_lead_to_the_events_that_caused_them(staff: Client, restaurant: Restaurant) -> None:
    payment, record = begin(restaurant), enter(restaurant, "paymentClosed", event_id="<e>", payment_id="p1")
    payment.cancel(at=NOON + SECOND, reason="Qerko said <EXPIRED>.", because_of=record.pk, final_state="<EXPIRED>")

    page, text = page_of(staff, payment), text_of(staff, payment)

    assert f'<a href="{address(WebhookEvent, "change", record.pk)}">paymentClosed &lt;e&gt;</a>' in page
    assert "\n-\nStarted\n-\n-\n" in text
    assert "\nstarted\nCancelled\npaymentClosed &lt;e&gt;\nQerko said &lt;EXPIRED&gt;.\n" in text
    assert labelled(staff, payment, "Final state")[0] == "&lt;EXPIRED&gt;"
    assert labelled(staff, payment, "Reason")[0] == "Qerko said &lt;EXPIRED&gt;."


def test_an_event_leads_to_the_steps_that_it_caused(staff: Client, restaurant: Restaurant) -> None:
    payment, record = begin(restaurant, payment_id="p1"), enter(restaurant, "paymentClosed", payment_id="p1")
    assert labelled(staff, record, "Steps of a payment")[0] == "-"

    payment.mark_paid(at=NOON + SECOND, because_of=record.pk)

    assert labelled(staff, record, "Steps of a payment")[:3] == ["payment", "p1", ": paid"]
    assert f'<a href="{address(Payment, "change", payment.pk)}">p1</a>' in page_of(staff, record)
    assert "payment paid, by this event" in page_of(staff, record)


@pytest.mark.parametrize("steps", [1, 3])
def test_a_payments_page_takes_as_many_statements_however_many_its_steps(
    staff: Client, restaurant: Restaurant, steps: int
) -> None:
    payment = begin(restaurant)
    if steps > 1:
        for name, step in (("paymentProcessed", payment.process), ("paymentClosed", payment.mark_paid)):
            given = (RECEIPT,) if name == "paymentProcessed" else ()
            step(*given, at=NOON + SECOND, because_of=enter(restaurant, name).pk)

    assert len(reads_of(staff, address(Payment, "change", payment.pk))) == 5


def test_an_alarm_and_what_does_not_fit_are_marked_in_words_and_numbers(staff: Client, restaurant: Restaurant) -> None:
    found = {"what": "price of item <1>", "expected": "55.00", "told": "49.00"}
    payment = begin(restaurant, state="paid", alarm="It was cancelled.\nMoney <moved>.", contradictions=[found])

    page, text = page_of(staff, payment), text_of(staff, payment)

    for part in ("It was cancelled.", "Money &lt;moved&gt;.", "price of item &lt;1&gt;"):
        assert f'<strong class="qerko">{part}</strong>' in page
    assert "\nprice of item &lt;1&gt;\n55.00\n49.00\n-6.00\n" in text


def test_a_payments_list_shows_its_marks(staff: Client, restaurant: Restaurant) -> None:
    found = {"what": "price of item 1", "expected": "55.00", "told": "49.00"}
    begin(restaurant, state="paid", alarm="Money moved.", contradictions=[found], newer_start_at=NOON)
    begin(restaurant, newer_start_at=NOON)
    begin(restaurant)

    page = staff.get(address(Payment)).content.decode()

    cells = re.findall('<td class="field-look_at">(.*?)</td>', page)
    assert [re.findall('<strong class="qerko">(.*?)</strong>', cell) for cell in cells] == [
        [],
        ["another waits"],
        ["alarm", "does not fit its bill"],
    ]


def test_payments_are_filtered_by_their_marks(staff: Client, restaurant: Restaurant) -> None:
    alarming = begin(restaurant, state="paid", alarm="Money moved.")
    contradictory = begin(restaurant, contradictions=[{"what": "tipBrutto", "expected": "0", "told": "1"}])

    assert listed(staff, Payment, alarming="yes") == listed(staff, Payment, state="paid") == [alarming]
    assert listed(staff, Payment, contradictory="yes") == listed(staff, Payment, state="started") == [contradictory]
    assert listed(staff, Payment, alarming="no") == listed(staff, Payment)


@pytest.mark.parametrize("typed", ["pay-1", "421", "guest"])
def test_payments_are_found_by_the_beginning_of_an_id(staff: Client, restaurant: Restaurant, typed: str) -> None:
    ours = begin(restaurant, payment_id="pay-12", bill=open_bill(restaurant, "4213"), customer_id="guest-7")
    begin(restaurant, payment_id="a-pay-1", bill=open_bill(restaurant, "1421"))

    assert listed(staff, Payment, q=typed) == [ours]


def test_a_payment_that_qerko_is_to_be_asked_about_says_when(staff: Client, restaurant: Restaurant) -> None:
    waiting = begin(restaurant, newer_start_at=NOON, questions=3)
    ended = begin(restaurant, state="paid")

    labels = ("Another wanted to begin", "Next question", "Questions")
    assert [labelled(staff, waiting, label)[0] for label in labels] == [
        timeline.when(NOON),
        timeline.when(waiting.next_question_at),
        "3",
    ]
    assert [labelled(staff, ended, label)[0] for label in labels] == ["-", "-", "0"]


def test_a_receipt_is_shown_once_it_is_there(staff: Client, restaurant: Restaurant) -> None:
    payment = begin(restaurant)
    assert labelled(staff, payment, "Receipt")[0] == "-"

    payment.process(RECEIPT, at=NOON + SECOND)

    assert "&quot;serial&quot;: &quot;7&quot;" in page_of(staff, payment)


def test_who_may_look_at_a_payment_sees_its_items_parts_and_steps(restaurant: Restaurant) -> None:
    waiter, client = User.objects.create_user("waiter", is_staff=True), Client()
    waiter.user_permissions.set(Permission.objects.filter(codename="view_payment"))
    client.force_login(waiter)

    page = page_of(client, begin(restaurant))

    for table in ("items", "parts", "steps"):
        assert f'id="{table}-group"' in page
