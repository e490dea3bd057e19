"""A request to the sandbox's own server, which knows whom it plays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from django.core.handlers.wsgi import WSGIRequest
from django.http import Http404

from django_qerko.sandbox.qerko import PointOfSale, Qerko
from django_qerko.sandbox.speaking import Language
from django_qerko.sandbox.visits import Visits

#: Where a request has its connection.
LINE: Final = "django_qerko.sandbox.line"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """One Qerko, the restaurants that it knows, which are numbered from 1, and the guests who visit them."""

    qerko: Qerko
    points_of_sale: Sequence[PointOfSale]
    visits: Visits = field(default_factory=Visits)

    def restaurant(self, number: int) -> PointOfSale:
        """Raises Http404 where nobody has this number."""
        if not 1 <= number <= len(self.points_of_sale):
            raise Http404(f"There is no restaurant {number} here.")
        return self.points_of_sale[number - 1]


class SandboxRequest(WSGIRequest):
    sandbox: Sandbox
    language: Language
