"""The tests' project as a server process runs it: on the databases of the test that started it."""

from __future__ import annotations

import importlib
import json
import os
from datetime import timedelta
from typing import Any

from django_qerko.conf import DEFAULTS
from django_qerko.queueing import BEAT_SCHEDULE

base = importlib.import_module(os.environ["SERVED_SETTINGS"])
globals().update({name: value for name, value in vars(base).items() if name.isupper()})

DATABASES: dict[str, dict[str, Any]] = {
    alias: base.DATABASES[alias] | {"NAME": name, "CONN_MAX_AGE": 60}
    for alias, name in json.loads(os.environ["SERVED_DATABASES"]).items()
}
INSTALLED_APPS = [app if app != "tests.till" else "tests.till.apps.OpenTillConfig" for app in base.INSTALLED_APPS]
DEBUG = os.environ.get("SERVED_DEBUG") == "1"
QERKO = base.QERKO | {
    "ANSWER_LATER": DEFAULTS["ANSWER_LATER"],
    "BASE_URL": os.environ.get("SERVED_QERKO") or base.QERKO["BASE_URL"],
    "REPLY_DEADLINE": timedelta(seconds=float(os.environ.get("SERVED_DEADLINE", "15"))),
}

CELERY_BROKER_URL = os.environ.get("SERVED_BROKER") or "memory://"
if CELERY_BROKER_URL.startswith("sqlite:"):
    CELERY_BROKER_TRANSPORT = "example_project.broker:Transport"
    CELERY_BROKER_TRANSPORT_OPTIONS = {"polling_interval": 0.02}
CELERY_TASK_DEFAULT_QUEUE = os.environ.get("SERVED_QUEUE") or "celery"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# RabbitMQ gives the mailbox of a worker that was killed to no other of its name for a while.
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BEAT_SCHEDULE = BEAT_SCHEDULE
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["stderr"], "level": "DEBUG"},
    "loggers": {"django": {"level": "DEBUG"}},
}
