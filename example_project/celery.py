"""The pub's Celery app, as Celery's documentation for Django has it; each worker brings beat along."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.beat import EmbeddedService
from celery.signals import worker_ready, worker_shutting_down

# Before the app is made: only then does every thread of the process know it, and not this one alone.
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")

app = Celery("example_project")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_ready.connect
def start_beat(sender: Any, **_: Any) -> None:
    """Sweep and reconcile by nothing but a worker. Several beats do no harm: our tasks may run twice."""
    if sender.controller.beat is None:  # not started with --beat
        beat: Any = EmbeddedService(app, thread=True, scheduler_cls="celery.beat:Scheduler")
        beat.start()
        # Without waiting for its second to pass; weak, it would be forgotten here.
        worker_shutting_down.connect(lambda **_: beat.service.stop(), weak=False)
