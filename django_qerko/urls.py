"""The webhook's address: one per restaurant, and one without a name where there is only one restaurant."""

from __future__ import annotations

from typing import Final

from django.urls import path, re_path

from django_qerko.events import NAMES
from django_qerko.receiving.views import WebhookView

app_name: Final = "qerko"

webhook: Final = WebhookView.as_view()

urlpatterns: Final = [
    path("webhook/", webhook, name="webhook"),
    path("webhook/event/<str:event>/", webhook, name="webhook-event"),
    path("webhook/<uuid:token>/", webhook, name="webhook"),
    path("webhook/<uuid:token>/<str:event>/", webhook, name="webhook-event"),
    # Without the trailing slash: a redirect would lose the body of a POST.
    path("webhook", webhook),
    path("webhook/event/<str:event>", webhook),
    path("webhook/<uuid:token>", webhook),
    path("webhook/<uuid:token>/<str:event>", webhook),
    # Where Qerko appends the name of an event to the address of the only restaurant.
    re_path(rf"^webhook/(?P<event>{'|'.join(NAMES)})/?\Z", webhook),
    # Everything else there is answered, logged and counted by us, and not by the host's page for 404.
    re_path(r"^webhook/(?P<address>[\s\S]+)\Z", webhook),
]
