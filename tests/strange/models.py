"""A user model of its own."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser


class Regular(AbstractUser):
    """Whoever logs in at the strange host."""
