"""The tests' Celery app, whose broker is in this process."""

from __future__ import annotations

import importlib
import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

# The pub makes an app too, and the last one made is the one in force; it would name its own settings first.
importlib.import_module("example_project.celery")

app = Celery("tests")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
