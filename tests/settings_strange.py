"""A host that does everything differently: two databases, times without zones, hostile defaults."""

from __future__ import annotations

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, INSTALLED_APPS, MIDDLEWARE, database

USE_TZ = False
TIME_ZONE = "Europe/Prague"
AUTH_USER_MODEL = "strange.Regular"
INSTALLED_APPS = [*INSTALLED_APPS, "tests.strange"]
MIDDLEWARE = [
    "django.middleware.gzip.GZipMiddleware",
    "django.middleware.http.ConditionalGetMiddleware",
    *MIDDLEWARE,
    "django.middleware.locale.LocaleMiddleware",
]

DATABASES["qerko"] = database("sqlite:///var/strange.sqlite3")
DATABASES["qerko"]["TEST"]["NAME"] += ".qerko"
DATABASES["default"]["ATOMIC_REQUESTS"] = DATABASES["qerko"]["ATOMIC_REQUESTS"] = True
DATABASE_ROUTERS = ["tests.strange.hostile.Router"]

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["tests.strange.hostile.NoPermission"],
    "DEFAULT_THROTTLE_CLASSES": ["tests.strange.hostile.NoThrottle"],
    "DEFAULT_RENDERER_CLASSES": ["tests.strange.hostile.NoRenderer"],
    "DEFAULT_PARSER_CLASSES": ["tests.strange.hostile.NoParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "tests.strange.hostile.NoNegotiation",
    "DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.AcceptHeaderVersioning",
    "DEFAULT_METADATA_CLASS": None,
    "EXCEPTION_HANDLER": "tests.strange.hostile.refuse",
    "UNAUTHENTICATED_USER": "tests.strange.hostile.refuse",
    "FORMAT_SUFFIX_KWARG": "event",
    "URL_FORMAT_OVERRIDE": "event",
}
