"""An answer that leaves later: kept in the outbox, and brought to Qerko in time or not at all."""

from django_qerko.replying.outbox import reply_later

__all__ = ["reply_later"]
