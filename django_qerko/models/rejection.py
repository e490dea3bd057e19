"""What was turned away at the door: counted by the hour, with a few samples for diagnosis."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, Self

from django.db import IntegrityError, models, router, transaction
from django.db.models import F

from django_qerko.models.restaurant import Restaurant

#: Samples kept per restaurant, reason and hour: enough to see a pattern, too few to fill a disk.
SAMPLES_KEPT: Final = 3


class RejectionQuerySet(models.QuerySet["Rejection"]):
    def since(self, moment: datetime) -> Self:
        return self.filter(last_at__gte=moment)

    def by_reason(self) -> dict[str, int]:
        """How many deliveries were turned away, by reason."""
        rows = self.order_by("reason").values_list("reason").annotate(number=models.Sum("number"))
        return dict(rows)

    def add(
        self,
        *,
        restaurant_id: int | None,
        reason: str,
        hour: datetime,
        at: datetime,
        number: int,
        samples: Iterable[dict[str, Any]],
    ) -> None:
        """Add to the count of this restaurant, reason and hour; its samples give way to newer ones."""
        slot = f"{restaurant_id or '-'} {reason} {hour:%Y-%m-%d %H}"
        alias = router.db_for_write(self.model)
        row = self.using(alias).filter(slot=slot)
        changes: dict[str, Any] = {"last_at": at, "samples": list(samples)[-SAMPLES_KEPT:]}
        if row.update(number=F("number") + number, **changes):
            return
        try:
            with transaction.atomic(using=alias):
                self.using(alias).create(
                    slot=slot,
                    restaurant_id=restaurant_id,
                    reason=reason,
                    hour=hour,
                    number=number,
                    first_at=at,
                    **changes,
                )
        except IntegrityError:
            # Another process opened the hour in between; or the restaurant is gone, and so is its count.
            row.update(number=F("number") + number, **changes)


class Rejection(models.Model):
    """How often one reason turned deliveries away from one address in one hour.

    A sample keeps lengths, digests, the finding and its causes, never a body or a signature.
    """

    id = models.BigAutoField(primary_key=True)
    #: Identity of restaurant, reason and hour in one column: a unique constraint lets ``NULL`` in twice.
    slot = models.CharField(max_length=100, unique=True, editable=False)
    restaurant = models.ForeignKey(Restaurant, on_delete=models.CASCADE, null=True, related_name="rejections")
    reason = models.CharField(max_length=40)
    hour = models.DateTimeField(db_index=True)
    number = models.PositiveBigIntegerField()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    samples = models.JSONField(default=list)

    objects = RejectionQuerySet.as_manager()

    class Meta:
        ordering = ["-hour", "reason"]
        constraints = [
            models.CheckConstraint(condition=models.Q(number__gte=1), name="qerko_rejection_counts"),
            models.CheckConstraint(condition=~models.Q(reason=""), name="qerko_rejection_has_reason"),
        ]

    def __str__(self) -> str:
        return f"{self.reason}: {self.number}"

    @property
    def named_samples(self) -> dict[str, dict[str, Any]]:
        """Its samples by the ids under which ``qerko_diagnose`` knows them; newer ones take the place of older."""
        return {f"{self.pk}-{sample.get('id', number)}": sample for number, sample in enumerate(self.samples)}
