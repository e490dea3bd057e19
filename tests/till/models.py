"""What the till writes when it handles an event."""

from __future__ import annotations

from django.db import models


class Note(models.Model):
    """One line that a handler wrote in its transaction."""

    id = models.BigAutoField(primary_key=True)
    text = models.CharField(max_length=200)

    def __str__(self) -> str:
        return self.text
