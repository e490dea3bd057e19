"""What the project around the app connects: the REST framework, the webhook's address, its own receivers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage
from django.urls import NoReverseMatch, reverse

from django_qerko import events
from django_qerko.checks.values import TAG
from django_qerko.signals import QUESTIONS

#: A point of sale that answers these can be paid at; the signal's name, and the id of the warning.
NEEDED: Final[Mapping[type[events.Event], tuple[str, str]]] = {
    events.TableContentsRequested: ("table_contents_requested", "qerko.W005"),
    events.BillRequested: ("bill_requested", "qerko.W006"),
    events.PaymentProcessed: ("payment_processed", "qerko.W007"),
}


@checks.register(TAG)
def check_apps(**_: Any) -> list[CheckMessage]:
    """The REST framework is installed."""
    if apps.is_installed("rest_framework"):
        return []
    hint = 'Write INSTALLED_APPS += ["rest_framework"] before "django_qerko".'
    return [checks.Warning("The Django REST framework is not among INSTALLED_APPS.", hint=hint, id="qerko.W003")]


@checks.register(TAG)
def check_urlconf(**_: Any) -> list[CheckMessage]:
    """Qerko has an address to call."""
    try:
        if getattr(settings, "ROOT_URLCONF", None):
            reverse("qerko:webhook")
            return []
    except NoReverseMatch:
        pass
    message = "The webhook has no address: the URLconf has no django_qerko.urls, or only inside another namespace."
    hint = 'Add path("qerko/", include("django_qerko.urls")) to the urlpatterns of ROOT_URLCONF itself.'
    return [checks.Warning(message, hint=hint, id="qerko.W004")]


@checks.register(TAG)
def check_receivers(**_: Any) -> list[CheckMessage]:
    """Somebody answers what every payment begins and ends with."""
    return [
        checks.Warning(
            f"No receiver is connected to {signal}, so nobody answers {event.NAME}.",
            hint=f"Connect one with @receiver(django_qerko.signals.{signal}), where your AppConfig.ready() imports it.",
            id=identity,
        )
        for event, (signal, identity) in NEEDED.items()
        if not QUESTIONS[event].signal.has_listeners(event)
    ]
