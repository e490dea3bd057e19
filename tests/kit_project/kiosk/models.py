"""Orders, each of one table, with their lines."""

from __future__ import annotations

from django.db import models


class Order(models.Model):
    """What a table ordered."""

    table = models.CharField(max_length=20)

    objects: models.Manager[Order] = models.Manager()

    def __str__(self) -> str:
        return f"order {self.pk}"


class Line(models.Model):
    """One kind of thing, at one price."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines")
    name = models.CharField(max_length=100)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    quantity = models.DecimalField(max_digits=8, decimal_places=2)

    objects: models.Manager[Line] = models.Manager()

    def __str__(self) -> str:
        return self.name


class Paid(models.Model):
    """What the kiosk's keeper was told."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE)
    payment_id = models.CharField(max_length=128, unique=True)

    objects: models.Manager[Paid] = models.Manager()

    def __str__(self) -> str:
        return self.payment_id
