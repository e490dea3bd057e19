"""A restaurant, the address where Qerko reaches it, and its API keys."""

from __future__ import annotations

import uuid
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, Self

from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, router, transaction
from django.db.models import Q
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from django_qerko.conf import conf
from django_qerko.keys import ApiKey

#: The moment of a key's last use is kept this exactly, so that a busy evening does not write it all the time.
USE_IS_NOTED_EVERY: Final = timedelta(minutes=1)


class RestaurantQuerySet(models.QuerySet["Restaurant"]):
    def only_one(self) -> Restaurant | None:
        """The restaurant, where exactly one exists."""
        first_two = list(self[:2])
        return first_two[0] if len(first_two) == 1 else None

    def add(self, *, name: str, api_key: ApiKey) -> Restaurant:
        """Add a restaurant with its first key.

        Raises ValidationError when the name is empty, too long or taken, or another restaurant has this key.
        """
        restaurant = Restaurant(name=name)
        restaurant.clean_fields()
        if known := RestaurantKey.objects.select_related("restaurant").holding(api_key):
            raise ValidationError(f"This key belongs to {known.restaurant} already.", code="known_key")
        alias = router.db_for_write(Restaurant)
        try:
            with transaction.atomic(using=alias):
                restaurant.save(using=alias)
                restaurant.add_key(api_key)
        except IntegrityError as error:
            raise ValidationError(f"There is a restaurant {name} already.", code="known_name") from error
        return restaurant


class Restaurant(models.Model):
    """The place with a key; every row belongs to one."""

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=200, unique=True)
    #: No request says which restaurant it is for, so each has an unguessable address (protocol section 2, A).
    webhook_token = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = RestaurantQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def webhook_path(self) -> str:
        """The path of its webhook.

        Raises NoReverseMatch when the project's URLconf has no place for webhooks.
        """
        return reverse("qerko:webhook", kwargs={"token": self.webhook_token})

    @property
    def webhook_address(self) -> str:
        """What Qerko is told to call, for people: a host or a path that is not known is said to be missing."""
        try:
            return f"{conf.PUBLIC_URL or 'https://<your host>'}{self.webhook_path}"
        except NoReverseMatch:
            return 'none: add path("qerko/", include("django_qerko.urls")) to the URLconf'

    @property
    def current_key(self) -> RestaurantKey | None:
        """The key that our own calls carry: the newest."""
        return self.keys.first()

    @property
    def api_key(self) -> ApiKey:
        """The newest key that can be read.

        Raises ValueError where there is none.
        """
        for row in self.keys.all():
            with suppress(ValueError):
                return row.api_key
        raise ValueError("The restaurant has no API key that can be read.")

    def add_key(self, api_key: ApiKey) -> RestaurantKey:
        """Make a key the current one, a new one or an older that is kept; the others stay accepted until
        ``forget_old_keys``. Where it is the current one already nothing changes.

        Raises ValidationError when another restaurant has this key: a key says which restaurant speaks.
        """
        with transaction.atomic(using=self._state.db):
            self._lock()
            holder = RestaurantKey.objects.using(self._state.db).select_related("restaurant").holding(api_key)
            if holder is None:
                return self.keys.create(secret=api_key.encrypt())
            if holder.restaurant_id != self.pk:
                raise ValidationError(f"{holder.restaurant} has this key already.", code="known_key")
            if holder == self.current_key:
                return holder
            # The newest row is the current key, so this one is entered anew.
            holder.delete()
            return self.keys.create(secret=api_key.encrypt(), last_used_at=holder.last_used_at)

    def forget_old_keys(self) -> int:
        """Forget every key but the current one, and say how many."""
        with transaction.atomic(using=self._state.db):
            self._lock()
            current = self.current_key
            if current is None:
                return 0
            # A key that comes meanwhile is newer, and stays.
            forgotten, _ = self.keys.filter(pk__lt=current.pk).delete()
        return forgotten

    def _lock(self) -> None:
        Restaurant.objects.using(self._state.db).select_for_update().get(pk=self.pk)


class RestaurantKeyQuerySet(models.QuerySet["RestaurantKey"]):
    def opening(self, token: uuid.UUID) -> Self:
        """The keys of the restaurant at this address, each with its restaurant, newest first."""
        return self.filter(restaurant__webhook_token=token).select_related("restaurant")

    def holding(self, api_key: ApiKey) -> RestaurantKey | None:
        """The row that keeps this key; each is decrypted for it, since equal keys are stored differently."""
        return next((row for row in self if row.opens_with(api_key)), None)

    def note_use(self, at: datetime) -> bool:
        """Keep the moment of the last use, unless one of the last minute is kept."""
        stale = Q(last_used_at=None) | Q(last_used_at__lte=at - USE_IS_NOTED_EVERY)
        return bool(self.filter(stale).update(last_used_at=at))


class RestaurantKey(models.Model):
    """One API key of a restaurant, encrypted; several may be live at once (protocol section 1, D)."""

    id = models.BigAutoField(primary_key=True)
    restaurant = models.ForeignKey(Restaurant, on_delete=models.CASCADE, related_name="keys")
    secret = models.TextField(editable=False)
    added_at = models.DateTimeField(default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)

    objects = RestaurantKeyQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.shown

    @property
    def api_key(self) -> ApiKey:
        """The key itself.

        Raises ValueError when it was stored under an encryption key that is gone.
        """
        return ApiKey.decrypt(self.secret)

    @property
    def shown(self) -> str:
        """What may be shown of the key: its last four characters."""
        try:
            return self.api_key.shown
        except ValueError:
            return "unreadable"

    def opens_with(self, api_key: ApiKey) -> bool:
        """Whether this row keeps that key; an unreadable row keeps none."""
        try:
            return self.api_key == api_key
        except ValueError:
            return False
