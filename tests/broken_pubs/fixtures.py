"""What `qerko_certify --fixture` is given in tests; none of it is called anywhere else."""

from __future__ import annotations

from typing import Final

from django_qerko.models import Restaurant

#: No function at all.
NOTHING: Final = 0


def one_that_breaks() -> None:
    raise TypeError("no tables\nat all")


def a_restaurant_without_a_key() -> None:
    Restaurant.objects.create(name="Not open yet")
