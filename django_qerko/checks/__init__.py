"""What is misconfigured, said before the first guest does."""

from __future__ import annotations

from django_qerko.checks import bookkeeping, database, project, queue, values

__all__ = ["bookkeeping", "database", "project", "queue", "values"]
