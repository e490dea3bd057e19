"""The webhook without its last resort: what breaks goes on to Django's own error page."""

from __future__ import annotations

from typing import NoReturn

from django.urls import path

from django_qerko.receiving.views import WebhookView


class OutspokenView(WebhookView):
    """Lets out whatever happens."""

    def handle_exception(self, exc: Exception) -> NoReturn:
        raise exc


urlpatterns = [path("qerko/webhook/<uuid:token>/", OutspokenView.as_view())]
