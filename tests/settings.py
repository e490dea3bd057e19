"""The project that the tests run in: SQLite in a file, or the server that TEST_DATABASE_URL names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dj_database_url

BASE_DIR = Path(__file__).resolve().parent.parent

# The workers and servers that a run starts inherit its name, so they agree on the database; two runs do not meet.
RUN = os.environ.setdefault("TEST_RUN", str(os.getpid()))


def database(url: str) -> dict[str, Any]:
    """The database of a URL, its test database named after this run."""
    settings: dict[str, Any] = dict(dj_database_url.parse(url))
    name = f"test_qerko_{RUN}"
    if settings["ENGINE"] == "django.db.backends.sqlite3":
        folder = BASE_DIR / "var" / "tests"
        folder.mkdir(parents=True, exist_ok=True)
        name = str(folder / f"{name}.sqlite3")
        settings["OPTIONS"] = {
            "init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL",
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
        }
    settings["TEST"] = {"NAME": name}
    return settings


DATABASES = {"default": database(os.environ.get("TEST_DATABASE_URL") or f"sqlite:///{BASE_DIR}/var/tests.sqlite3")}

SECRET_KEY = "known to everybody, and good enough for tests"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "tests.urls"
STATIC_URL = "static/"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "rest_framework",
    "django_qerko",
    "tests.till",
    "tests.quiet_pub.QuietPub",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
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

CELERY_BROKER_URL = "memory://"

QERKO = {
    # What is answered now is most of the road, and most of the tests; tests/later.py has the default back.
    "ANSWER_LATER": [],
    "POS_ID": "0b2f5c1e-7f0a-4d53-9a3e-6a2f1d9c8b47",
    "BASE_URL": "http://127.0.0.1:8765/api/v4/pos",
}
