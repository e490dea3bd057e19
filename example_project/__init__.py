"""A small pub that takes payments through Qerko: an example to run, to read and to copy from."""

from __future__ import annotations

from example_project.celery import app as celery_app

__all__ = ["celery_app"]
