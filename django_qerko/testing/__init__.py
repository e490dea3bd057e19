"""For a project's own tests: events, signed deliveries, rows and deadlines, as plain functions.

What calls and listens stands in ``testing.client`` and ``testing.recording``, and is the same as fixtures in
``testing.plugin`` and for ``unittest`` in ``testing.cases``.
"""

from __future__ import annotations

from django_qerko.testing.deadlines import frozen_deadline, pass_deadline
from django_qerko.testing.deliveries import make_delivery
from django_qerko.testing.isolating import isolated
from django_qerko.testing.payloads import make_event, make_payload, make_payment_data
from django_qerko.testing.rows import make_api_key, make_bill, make_payment, make_receipt, make_restaurant
from django_qerko.testing.working import work

__all__ = [
    "frozen_deadline",
    "isolated",
    "make_api_key",
    "make_bill",
    "make_delivery",
    "make_event",
    "make_payload",
    "make_payment",
    "make_payment_data",
    "make_receipt",
    "make_restaurant",
    "pass_deadline",
    "work",
]
