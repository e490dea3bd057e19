"""The pages on which a guest pays: nothing changes without a POST, and each is answered with an address to look at."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Final
from urllib.parse import urlencode

from django.http import Http404, HttpResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from django_qerko.sandbox import rendering
from django_qerko.sandbox.choosing import Choice, NotPossible
from django_qerko.sandbox.forms import asked, sent
from django_qerko.sandbox.moments import Ending
from django_qerko.sandbox.phrases import LANGUAGES
from django_qerko.sandbox.request import SandboxRequest
from django_qerko.sandbox.showing import Shown
from django_qerko.sandbox.speaking import COOKIE
from django_qerko.sandbox.visits import Visit

#: Django sends nobody to a longer address than twice this.
MAX_KEPT: Final = 8_000
#: What a guest, and the bank, may decide; the clock and the point of sale send no form.
_DECISIONS: Final = {Ending.CONFIRM, Ending.REFUSE, Ending.LEAVE}


@require_POST
def pay(request: SandboxRequest, number: int, bill_id: str) -> HttpResponse:
    """Begin to pay what was chosen; the form has an id, so that it begins one payment however often it is sent."""
    pos = request.sandbox.restaurant(number)
    fields = sent(request)
    choice = Choice.of(fields)
    try:
        choice.require_sense()
    except NotPossible as impossible:
        return rendering.look_at(f"{reverse('bill', args=[number, bill_id])}?{_kept(fields, impossible.phrase)}")
    id_ = _id(fields.get("payment", ""))
    visit = request.sandbox.visits.begin(request.sandbox.qerko, pos, bill_id, choice, id_=id_)
    return _look_at(number, visit)


@require_safe
def payment(request: SandboxRequest, number: int, payment_id: uuid.UUID) -> HttpResponse:
    """The payment as it is now, until it is over."""
    visit = _find(request, number, payment_id)
    return rendering.page(
        request,
        "payment.html",
        number=str(number),
        restaurant=visit.pos.name,
        has_others=len(request.sandbox.points_of_sale) > 1,
        visit=Shown(visit, request.language),
    )


@require_safe
def progress(request: SandboxRequest, number: int, payment_id: uuid.UUID) -> HttpResponse:
    """Only what has changed of that page since the moment of this number; 204 where nothing has."""
    visit = Shown(_find(request, number, payment_id), request.language)
    if asked(request).get("number") == visit.number:
        return rendering.nothing_new()
    return rendering.fragment(request, "visit.html", number=str(number), visit=visit)


@require_POST
def decide(request: SandboxRequest, number: int, payment_id: uuid.UUID) -> HttpResponse:
    """Confirm a payment that has started, have the bank refuse it, or walk away; only the first decision counts."""
    visit = _find(request, number, payment_id)
    with suppress(ValueError):
        ending = Ending(sent(request).get("decision", ""))
        if ending in _DECISIONS:
            visit.decide(ending)
    return _look_at(number, visit)


@require_POST
def ask_receipt(request: SandboxRequest, number: int, payment_id: uuid.UUID) -> HttpResponse:
    """Ask for a receipt that was postponed."""
    visit = _find(request, number, payment_id)
    visit.ask_receipt()
    return _look_at(number, visit)


@require_POST
def again(request: SandboxRequest, number: int) -> HttpResponse:
    """Deliver the event of this exchange once more; the page stays, and the conversation beside it tells."""
    qerko = request.sandbox.qerko
    exchange = next((exchange for exchange in qerko.conversation if exchange.number == number), None)
    if exchange is None:
        raise Http404(f"Nobody remembers a delivery {number} here.")
    qerko.deliver_again(exchange)
    return rendering.nothing_new()


@require_POST
def language(request: SandboxRequest) -> HttpResponse:
    """Speak another language from now on, and go back to the page."""
    fields = sent(request)
    back = fields.get("back", "")
    is_own = back.startswith("/") and url_has_allowed_host_and_scheme(back, allowed_hosts=None)
    response = rendering.look_at(back if is_own else reverse("front"))
    if fields.get("language") in LANGUAGES:
        response.set_cookie(COOKIE, fields["language"], httponly=True, samesite="Strict")
    return response


def _find(request: SandboxRequest, number: int, payment_id: uuid.UUID) -> Visit:
    visit = request.sandbox.visits.find(request.sandbox.restaurant(number), str(payment_id))
    if visit is None:
        raise Http404(f"There is no payment {payment_id} here.")
    return visit


def _look_at(number: int, visit: Visit) -> HttpResponse:
    return rendering.look_at(reverse("payment", args=[number, visit.id]))


def _kept(fields: Mapping[str, str], problem: str) -> str:
    """A choice that was not possible, to fill in the form again; one that is too long for an address is forgotten."""
    kept = urlencode({**fields, "problem": problem})
    return kept if len(kept) <= MAX_KEPT else urlencode({"problem": problem})


def _id(text: str) -> str:
    """The id that a form brought, or a new one."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return str(uuid.uuid4())
