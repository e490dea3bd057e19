"""The book: restaurants, what Qerko said, what we said, and where the money is."""

from django_qerko.models.bill import Bill
from django_qerko.models.event import WebhookEvent
from django_qerko.models.payment import Payment, PaymentItem, PaymentPart, PaymentStep
from django_qerko.models.rejection import Rejection
from django_qerko.models.reply import Attempt, Reply
from django_qerko.models.restaurant import Restaurant, RestaurantKey

__all__ = [
    "Attempt",
    "Bill",
    "Payment",
    "PaymentItem",
    "PaymentPart",
    "PaymentStep",
    "Rejection",
    "Reply",
    "Restaurant",
    "RestaurantKey",
    "WebhookEvent",
]
