"""What is connected at start, by name."""

from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_delete, post_save


class QerkoConfig(AppConfig):
    """The app; its keys are its own, whatever the host's ``DEFAULT_AUTO_FIELD``."""

    name = "django_qerko"
    verbose_name = "Qerko"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django_qerko import checks, models, queueing, tasks  # noqa: F401  # checks and tasks register themselves
        from django_qerko.handling import keeping
        from django_qerko.receiving.keyring import keyring
        from django_qerko.replying import outbox

        outbox.desk.bookkeeper = keeping.keep_later  # type: ignore[method-assign]  # it looks up, and knows no handling
        queueing.prepare()
        for model in (models.Restaurant, models.RestaurantKey):
            for change in (post_save, post_delete):
                change.connect(keyring.forget, sender=model, dispatch_uid="django_qerko.keyring")
