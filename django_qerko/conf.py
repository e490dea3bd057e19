"""Read the ``QERKO`` setting when used, never at import, with a default and a comment for each name."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.utils.encoding import force_bytes, force_str

#: Every name that ``QERKO`` may have, with its default. ``None``: there is none, or it is worked out.
DEFAULTS: Final[Mapping[str, Any]] = {
    # UUID of the integration, given by Qerko after certification (protocol section 1, D).
    "POS_ID": None,
    # Where /reply and the other endpoints live; the sandbox while DEBUG is on.
    "BASE_URL": None,
    # Scheme and host that Qerko calls, for signatures that cover the address.
    "PUBLIC_URL": None,
    # Events answered 202 and handled in Celery.
    "ANSWER_LATER": ("paymentStart", "paymentProcessed", "paymentClosed"),
    # How long Qerko waits for an answer (protocol section 3, S).
    "REPLY_DEADLINE": timedelta(seconds=15),
    # Connect and read, in seconds; clipped to the deadline.
    "HTTP_TIMEOUT": (1.0, 5.0),
    # The schemes that are accepted: of both either is enough, one alone is required; whichever is there must verify.
    "SIGNATURE_SCHEMES": ("rfc9421", "hmac-sha256"),
    # How far `created` may lie in the future (protocol section 2, A).
    "CLOCK_SKEW": timedelta(seconds=5),
    # Larger deliveries get 413 before hashing.
    "MAX_BODY_BYTES": 262_144,
    # Fernet keys, newest first; derived from SECRET_KEY and its fallbacks where none is named.
    "ENCRYPTION_KEYS": None,
    # The events for which the app keeps bills and payments itself.
    "BOOKKEEPING": (
        "getTableContents",
        "getBill",
        "searchBills",
        "paymentStart",
        "paymentProcessed",
        "paymentClosed",
        "getPostponedReceipt",
    ),
    # What bill handlers return: "unpaid" items only, or everything that was ever "ordered".
    "BILL_ITEMS": "unpaid",
    # A payment whose amounts do not fit the bill: "accept" or "refuse".
    "CONTRADICTIONS": "accept",
    # A payment in progress for longer is asked about at Qerko.
    "RECONCILE_AFTER": timedelta(minutes=2),
    # How long a tell whose handler broke is handled again.
    "RETRY_TELLS": timedelta(hours=24),
    # For pruning; the events of a payment are kept as long as the payment.
    "RETAIN_EVENTS": timedelta(days=90),
    "RETAIN_PAYMENTS": timedelta(days=3652),
    # The queue of our tasks; none: Celery's default.
    "CELERY_QUEUE": None,
}

#: The test environment that takes any POS_ID (protocol section 1, D for the host, A for the path).
SANDBOX_URL: Final = "https://sandbox.qerko.com/api/v4/pos"


def given() -> Mapping[str, Any]:
    """The project's own ``QERKO`` setting, as it stands in its settings; empty where it has none."""
    value = getattr(settings, "QERKO", None)
    return value if isinstance(value, Mapping) else {}


def derived_encryption_key(secret: str | bytes) -> str:
    """The Fernet key that stands in for ``ENCRYPTION_KEYS`` where a project names none."""
    digest = hmac.digest(force_bytes(secret), b"django_qerko.api_key", "sha256")
    return base64.urlsafe_b64encode(digest).decode()


class Conf:
    """The settings in force: ``conf.REPLY_DEADLINE``. Nothing is kept, so an overridden setting counts at once."""

    POS_ID: str | None
    ANSWER_LATER: Sequence[str]
    REPLY_DEADLINE: timedelta
    HTTP_TIMEOUT: tuple[float, float]
    SIGNATURE_SCHEMES: Sequence[str]
    CLOCK_SKEW: timedelta
    MAX_BODY_BYTES: int
    BOOKKEEPING: Sequence[str]
    BILL_ITEMS: str
    CONTRADICTIONS: str
    RECONCILE_AFTER: timedelta
    RETRY_TELLS: timedelta
    RETAIN_EVENTS: timedelta
    RETAIN_PAYMENTS: timedelta
    CELERY_QUEUE: str | None

    def __getattr__(self, name: str) -> Any:
        try:
            default = DEFAULTS[name]
        except KeyError:
            raise AttributeError(f"QERKO has no setting {name!r}") from None
        return given().get(name, default)

    @property
    def BASE_URL(self) -> str | None:  # noqa: N802
        """Where the API lives, without a trailing slash; the sandbox in DEBUG, else ``None`` where unset."""
        return _address("BASE_URL") or (SANDBOX_URL if settings.DEBUG else None)

    @property
    def PUBLIC_URL(self) -> str | None:  # noqa: N802
        """The origin that Qerko calls, without a trailing slash; ``None`` where unset."""
        return _address("PUBLIC_URL")

    @property
    def ENCRYPTION_KEYS(self) -> tuple[str, ...]:  # noqa: N802
        """Fernet keys, newest first."""
        named = given().get("ENCRYPTION_KEYS")
        if named:
            # What is no list of keys is no key either: it must fail, and never quietly become the derived one.
            return tuple(
                force_str(key, errors="replace") for key in (named if isinstance(named, Sequence) else [named])
            )
        return tuple(derived_encryption_key(secret) for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS))


def _address(name: str) -> str | None:
    """A setting that is an address; what is none counts as unset, and a system check says so."""
    value = given().get(name)
    return value.rstrip("/") or None if isinstance(value, str) else None


conf: Final = Conf()
