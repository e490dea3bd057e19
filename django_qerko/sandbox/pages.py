"""What a guest's phone shows: restaurants, their tables, bills, and the codes that lead to them."""

from __future__ import annotations

import uuid
from typing import Any, Final

from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_safe

from django_qerko import answers
from django_qerko.sandbox import rendering
from django_qerko.sandbox.choosing import Choice
from django_qerko.sandbox.forms import asked
from django_qerko.sandbox.ordering import form
from django_qerko.sandbox.qerko import Exchange, Reply, Turn
from django_qerko.sandbox.reading import Structure, read
from django_qerko.sandbox.refusals import refusal
from django_qerko.sandbox.replies import Note
from django_qerko.sandbox.request import SandboxRequest
from django_qerko.sandbox.slips import Slip, slip
from django_qerko.sandbox.telling import as_json, hidden, note_as_json, reply_as_json

#: What an address may say of a choice that was not possible.
_PROBLEMS: Final = {"problem_nothing", "problem_quantity", "problem_tip"}


@require_safe
def front(request: SandboxRequest) -> HttpResponse:
    """All restaurants; where there is only one, its tables at once."""
    if len(request.sandbox.points_of_sale) == 1:
        return HttpResponseRedirect(reverse("restaurant", args=[1]))
    names = [(str(number), pos.name) for number, pos in enumerate(request.sandbox.points_of_sale, start=1)]
    return rendering.page(request, "front.html", restaurants=names)


@require_safe
def restaurant(request: SandboxRequest, number: int) -> HttpResponse:
    """The tables, as Qerko asks for them when codes are paired with them."""
    turn = _ask(request, number, "getTableList")
    return _page(request, number, turn, "restaurant.html", tables=_read(turn))


@require_safe
def table(request: SandboxRequest, number: int, table_id: str) -> HttpResponse:
    """The open bills of a table, as if its code was scanned."""
    turn = _ask(request, number, "getTableContents", {"tableId": table_id, "customerId": None})
    title = request.language.say("table_n", id=table_id)
    return _page(request, number, turn, "bills.html", title=title, slips=_slips(request, turn))


@require_safe
def search(request: SandboxRequest, number: int) -> HttpResponse:
    """The bills behind a code that the point of sale made."""
    code = asked(request).get("code", "")
    turn = _ask(request, number, "searchBills", {"qrIdentifier": code, "customerId": None})
    title = request.language.say("code_n", code=code)
    return _page(request, number, turn, "bills.html", title=title, slips=_slips(request, turn))


@require_safe
def find_bill(request: SandboxRequest, number: int) -> HttpResponse:
    """Where the form leads that asks for a bill's number."""
    bill_id = asked(request).get("id", "").strip()
    target = reverse("bill", args=[number, bill_id]) if bill_id else reverse("restaurant", args=[number])
    return HttpResponseRedirect(target)


@require_safe
def bill(request: SandboxRequest, number: int, bill_id: str) -> HttpResponse:
    """A bill as a form, on which a guest chooses what to pay; filled in again where a choice was not possible."""
    turn = _ask(request, number, "getBill", {"billId": bill_id, "customerId": None})
    found = next(iter(_bills(turn)), None)
    fields = asked(request)
    problem = fields.get("problem", "")
    return _page(
        request,
        number,
        turn,
        "bill.html",
        title=request.language.say("bill_n", id=bill_id),
        slip=slip(found, request.language) if found else None,
        form=form(found, Choice.of(fields) if fields else Choice(), request.language) if found else None,
        problem=request.language.say(problem) if problem in _PROBLEMS else "",
        problem_name=problem,
        payment_id=str(uuid.uuid4()),
    )


@require_safe
def news(request: SandboxRequest) -> HttpResponse:
    """What was said since the page was looked at."""
    return rendering.news(request, asked(request).get("after", ""))


@require_safe
def conversation(request: SandboxRequest) -> HttpResponse:
    """The last exchanges, replies and notes for a program, oldest first."""
    said = request.sandbox.qerko.said
    return rendering.document(
        {
            "exchanges": [as_json(exchange) for exchange in said if isinstance(exchange, Exchange)],
            "replies": [reply_as_json(reply) for reply in said if isinstance(reply, Reply)],
            "notes": [note_as_json(note) for note in said if isinstance(note, Note)],
        }
    )


@require_safe
def style(request: SandboxRequest) -> HttpResponse:
    return rendering.stylesheet()


@require_safe
def script(request: SandboxRequest) -> HttpResponse:
    return rendering.script()


def _ask(request: SandboxRequest, number: int, event: str, data: object = None) -> Turn:
    """As a guest does: wait, where the answer comes later."""
    return request.sandbox.qerko.ask_and_wait(request.sandbox.restaurant(number), event, data)


def _page(request: SandboxRequest, number: int, turn: Turn, template: str, **context: Any) -> HttpResponse:
    exchange = turn.exchange
    return rendering.page(
        request,
        template,
        number=str(number),
        restaurant=exchange.pos.name,
        has_others=len(request.sandbox.points_of_sale) > 1,
        refusal=refusal(turn, request.language),
        findings=[hidden(exchange, str(finding)) for finding in turn.findings if exchange.status],
        **context,
    )


def _read(turn: Turn) -> tuple[Structure, ...]:
    return read(turn.exchange.event, turn.answer).structures if turn.is_answered else ()


def _bills(turn: Turn) -> tuple[answers.Bill, ...]:
    return tuple(structure for structure in _read(turn) if isinstance(structure, answers.Bill))


def _slips(request: SandboxRequest, turn: Turn) -> tuple[Slip, ...]:
    return tuple(slip(found, request.language) for found in _bills(turn))
