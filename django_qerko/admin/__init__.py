"""Let staff read the history."""

from __future__ import annotations

from django_qerko.admin import bill, event, payment, rejection, reply, restaurant

__all__ = ["bill", "event", "payment", "rejection", "reply", "restaurant"]
