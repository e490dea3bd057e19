"""Where the pub listens: its page, its admin, and Qerko's door."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import include, path

from example_project.pub.views import room

urlpatterns = [
    path("", room, name="room"),
    path("admin/", admin.site.urls),
    path("qerko/", include("django_qerko.urls")),
    # The admin's styles under gunicorn, too, while DEBUG is on; nothing otherwise.
    *staticfiles_urlpatterns(),
]
