"""Say whether a payment may begin on its bill (protocol section 5: D for the first rule, A for the others)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from django_qerko.events import Payment
from django_qerko.exceptions import BillClosed, DomainError

_NOTHING: Final = Decimal(0)
#: Nothing public says which codes a refused ``paymentStart`` has; any error cancels the payment (D).
_BUSY: Final = "ACCESS_DENIED"
_WRONG: Final = "BAD_PARAMETER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is known of a bill as a payment wants to begin; ``left`` is ``None`` where Qerko was never told of it."""

    is_busy: bool
    is_open: bool
    currency: str
    left: Mapping[str, Decimal] | None


def refusal(payment: Payment, bill: Standing) -> DomainError | None:
    """Why the payment may not begin; ``None`` where it may."""
    return next(_refusals(payment, bill), None)


def _refusals(payment: Payment, bill: Standing) -> Iterator[DomainError]:
    if bill.is_busy:
        yield DomainError(_BUSY, "Another payment is in progress on this bill.")
    wanted = payment.quantities
    if not wanted:
        yield DomainError(_WRONG, "The payment pays nothing.")
    for item, quantity in wanted.items():
        if quantity <= 0:
            yield DomainError(_WRONG, f"Nothing of item {item} is paid.")
    if not bill.is_open:
        yield BillClosed()
    if bill.left is None:
        return
    if payment.currency != bill.currency:
        yield DomainError(_WRONG, f"The bill is in {bill.currency}, and the payment in {payment.currency}.")
    for item, quantity in wanted.items():
        left = bill.left.get(item, _NOTHING)
        if quantity > left:
            yield DomainError(_WRONG, f"Of item {item}, {left:f} are left to pay, and {quantity:f} were asked.")
