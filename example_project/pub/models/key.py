"""Which key of the environment the pub took last."""

from __future__ import annotations

from django.db import models


class TakenKey(models.Model):
    """The key that a restaurant was last given out of the environment, as a digest.

    A key is taken where it is another than this one; so one that was rotated away since does not come back by itself.
    """

    #: Its webhook's token, and no foreign key: a project's router may keep restaurants in another database.
    restaurant = models.UUIDField(unique=True)
    digest = models.CharField(max_length=64)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return str(self.restaurant)
