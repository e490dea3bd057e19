"""Show one event whole: what came, what became of it, and what was answered, now or later."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from operator import attrgetter
from typing import Any

from django.core.management.base import CommandError, CommandParser

from django_qerko.handling.contradicting import Contradiction
from django_qerko.management import arguments
from django_qerko.management.printing import PrintingCommand
from django_qerko.models import Payment, Reply, WebhookEvent
from django_qerko.models.payment import SUCCESS
from django_qerko.tending import legible, timeline


class Command(PrintingCommand):
    help = "Show one event: its timeline, the headers kept, payload, answer, replies and attempts."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", metavar="ID", help="Qerko's id of the event, or the key of its record")
        parser.add_argument("--restaurant", metavar="NAME", help="of this restaurant only")
        parser.add_argument("--record", action="store_true", help="ID is the key of a record, and no id of Qerko's")

    def handle(self, *, id: str, restaurant: str | None, record: bool, **_: Any) -> None:  # noqa: A002
        book = WebhookEvent.objects.select_related("restaurant").with_replies().known_as(id)
        known = list(book if restaurant is None else book.of_restaurant(arguments.restaurant(restaurant).name))
        if record:
            known = [one for one in known if str(one.pk) == id]
        if not known:
            raise CommandError("\n".join(_unknown(id)))
        if len(known) > 1:
            raise CommandError("\n".join(_ambiguous(known)))
        for title, text in _sections(known[0]):
            self.stdout.write(self.style.MIGRATE_HEADING(title))
            self.stdout.write("".join(f"  {line}\n" for line in text.split("\n")))


def _unknown(text: str) -> Iterator[str]:
    """A person may have copied the id of a payment or a bill as well."""
    shown = legible.line(text)
    yield f"There is no event {shown}."
    about = {"bill": WebhookEvent.objects.about_bill(text), "payment": WebhookEvent.objects.about_payment(text)}
    for what, book in about.items():
        if book.exists():
            yield f"There is a {what} of that id; its events: qerko_events --{what} {legible.line(shlex.quote(text))}"


def _ambiguous(known: list[WebhookEvent]) -> Iterator[str]:
    yield "Several events are known by that. Say which with --restaurant NAME, or by its record with --record:"
    for record in known:
        yield legible.line(f"  {record.pk}  {timeline.when(record.received_at)}  {record}  {record.restaurant}")


def _sections(record: WebhookEvent) -> Iterator[tuple[str, str]]:
    payment = timeline.payment_of(record)
    life = timeline.moments(record, payment)
    yield legible.line(f"{record} of {record.restaurant}, record {record.pk}"), "\n".join(_facts(record, payment))
    yield "Timeline", "\n".join(f"{timeline.when(moment.at)}  {moment.what}" for moment in life)
    yield "Headers kept", "\n".join(legible.line(f"{name}: {value}") for name, value in sorted(record.headers.items()))
    yield "Payload", legible.pretty(bytes(record.payload))
    if record.answer is not None:
        yield f"Answer, {record.status}", legible.pretty(bytes(record.answer))
    if record.error:
        yield "Error", legible.lines(record.error)
    for reply in sorted(record.replies.all(), key=attrgetter("pk")):
        yield f"Reply {reply.pk}, {reply.state}{', an error' if reply.is_error else ''}", "\n".join(_told(reply))


def _facts(record: WebhookEvent, payment: Payment | None) -> Iterator[str]:
    yield f"state: {record.state}{_standing(record)}"
    if bill_id := _bill_id(record, payment):
        yield legible.line(f"bill: {bill_id}")
    if record.payment_id is not None:
        yield legible.line(f"payment: {record.payment_id}{_state(payment)}")
    if payment is not None:
        yield from (f"step: {step}" for step in payment.steps.all() if step.event == record)
        yield from _conspicuous(payment)


def _bill_id(record: WebhookEvent, payment: Payment | None) -> str | None:
    """Most events of a payment do not name its bill."""
    return record.bill_id or (payment.bill.bill_id if payment else None)


def _state(payment: Payment | None) -> str:
    """How the payment stands, with Qerko's word for its end where that is another."""
    if payment is None:
        return ", which is not in the books"
    said = payment.final_state
    return f", {payment.state}" + (f"; Qerko said {said}" if said not in ("", SUCCESS) else "")


def _conspicuous(payment: Payment) -> Iterator[str]:
    for alarm in filter(None, payment.alarm.split("\n")):
        yield f"alarm: {legible.line(alarm)}"
    for contradiction in map(Contradiction.from_json, payment.contradictions):
        yield f"does not fit its bill: {legible.line(str(contradiction))}"


def _standing(record: WebhookEvent) -> str:
    """What is owed to Qerko, in words."""
    if record.is_postponed:
        return "; 202 was said, a handler said LATER, and no reply is stored yet"
    return "; 202 was said, and the answer is owed" if record.is_promised else ""


def _told(reply: Reply) -> Iterator[str]:
    if reply.reason:
        yield f"reason: {legible.line(reply.reason)}"
    yield from map(timeline.tried, reply.attempts.all())
    yield from legible.pretty(bytes(reply.answer)).split("\n")
