"""The pub's settings: everything comes from the environment, with a default that needs no server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dj_database_url

from django_qerko.queueing import BEAT_SCHEDULE

BASE_DIR = Path(__file__).resolve().parent.parent


def given(name: str, default: str) -> str:
    """A variable of the environment; one that is empty counts as one that is not there."""
    return os.environ.get(name) or default


def listed(text: str) -> list[str]:
    """The members of a comma-separated list; none in an empty one."""
    return [member.strip() for member in text.split(",") if member.strip()]


def database(url: str) -> dict[str, Any]:
    """The database of a URL. SQLite is made to take several writers: a second one waits, instead of failing."""
    settings: dict[str, Any] = dict(dj_database_url.parse(url, conn_max_age=60, conn_health_checks=True))
    if settings["ENGINE"] == "django.db.backends.sqlite3":
        settings["OPTIONS"] = settings.get("OPTIONS", {}) | {
            "init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL",
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
        }
    return settings


def own_file(name: str) -> str:
    """The URL of a SQLite file beside the project, in a folder that is made for it."""
    folder = BASE_DIR / "var"
    folder.mkdir(exist_ok=True)
    return f"sqlite:///{folder / name}"


# -- Django ----------------------------------------------------------------------------------------

SECRET_KEY = given("DJANGO_SECRET_KEY", "django-insecure-good-enough-for-a-pub-on-your-own-machine")
DEBUG = os.environ.get("DJANGO_DEBUG", "1").strip().lower() not in {"", "0", "false"}
ALLOWED_HOSTS = listed(given("DJANGO_ALLOWED_HOSTS", "localhost, 127.0.0.1, [::1]"))

DATABASES = {"default": database(os.environ.get("DATABASE_URL") or own_file("pub.sqlite3"))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_qerko",
    "example_project.pub",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

ROOT_URLCONF = "example_project.urls"
WSGI_APPLICATION = "example_project.wsgi.application"
STATIC_URL = "static/"
TIME_ZONE = "Europe/Prague"
USE_TZ = True

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname:7} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "INFO"},
}

# -- Celery ----------------------------------------------------------------------------------------

CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL") or own_file("broker.sqlite3")
if CELERY_BROKER_URL.startswith("sqlite:"):
    # The broker without a server: docs/broker.md. It looks for work fifty times a second and has no way to broadcast.
    CELERY_BROKER_TRANSPORT = "example_project.broker:Transport"
    CELERY_BROKER_TRANSPORT_OPTIONS = {"polling_interval": 0.02}
    CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
# A worker takes no more than it works on, so that one that is killed has little in its hands.
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BEAT_SCHEDULE = BEAT_SCHEDULE
# The schedule is in these settings and has no long periods, so there is nothing to remember in a file.
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TIMEZONE = TIME_ZONE

# -- Qerko -----------------------------------------------------------------------------------------

QERKO: dict[str, Any] = {
    "POS_ID": given("QERKO_POS_ID", "6f1d7c0e-52a4-4d3b-9f0a-2b7c5e8d1a90"),
    # The sandbox on this machine: `python manage.py qerko_sandbox`.
    "BASE_URL": given("QERKO_BASE_URL", "http://127.0.0.1:8765/api/v4/pos"),
}
if os.environ.get("QERKO_PUBLIC_URL"):
    QERKO["PUBLIC_URL"] = os.environ["QERKO_PUBLIC_URL"]
if "QERKO_ANSWER_LATER" in os.environ:
    QERKO["ANSWER_LATER"] = listed(os.environ["QERKO_ANSWER_LATER"])
