"""The receipts that the pub has issued."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import models
from django.utils import timezone

from django_qerko.models.identifier import IdentifierField
from example_project.pub.models.ordering import Order


class IssuedReceiptQuerySet(models.QuerySet["IssuedReceipt"]):
    def void(self, payment_id: str, *, at: datetime) -> None:
        """No money came: if a receipt was issued, it is void."""
        self.filter(payment_id=payment_id, voided_at=None).update(voided_at=at)

    def revive(self, payment_id: str) -> None:
        """The money came after all."""
        self.filter(payment_id=payment_id).update(voided_at=None)


class IssuedReceipt(models.Model):
    """A receipt with its number, as Qerko got it; there is one for each payment."""

    payment_id = IdentifierField(max_length=128, unique=True)
    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="receipts")
    content = models.JSONField(default=dict)
    issued_at = models.DateTimeField(default=timezone.now)
    voided_at = models.DateTimeField(null=True)

    objects = IssuedReceiptQuerySet.as_manager()

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.serial

    @property
    def serial(self) -> str:
        """One series for each year, ascending; a payment that came to nothing leaves a gap."""
        return f"{timezone.localtime(self.issued_at):%Y}-{self.pk:06d}"

    def keep(self, content: dict[str, Any]) -> None:
        """Keep what stands on it; the number had to be known first."""
        self.content = content
        self.save(update_fields=["content"])
