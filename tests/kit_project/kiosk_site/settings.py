"""As `startproject` would write it, with the app added; the database of its tests is in memory."""

from __future__ import annotations

SECRET_KEY = "known to everybody, and good enough for tests"
ROOT_URLCONF = "kiosk_site.urls"
INSTALLED_APPS = ["django.contrib.contenttypes", "rest_framework", "django_qerko", "kiosk"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": "kiosk.sqlite3",
        "OPTIONS": {"init_command": "PRAGMA journal_mode=WAL", "transaction_mode": "IMMEDIATE"},
    }
}
USE_TZ = True

QERKO = {
    "POS_ID": "0b2f5c1e-7f0a-4d53-9a3e-6a2f1d9c8b47",
    # Nobody is there: a test that lets anything out would hear of it.
    "BASE_URL": "http://127.0.0.1:9/api/v4/pos",
    "BILL_ITEMS": "ordered",
}
