"""The pub's one page: who sits where, and what is still to be paid."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from example_project.pub.models import CURRENCY, Table


@require_safe
def room(request: HttpRequest) -> HttpResponse:
    """Every table with its open bills; read-only, and open to everybody in the pub."""
    return render(request, "pub/room.html", {"tables": Table.objects.with_open_orders(), "currency": CURRENCY})
