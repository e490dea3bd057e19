"""What runs every two seconds and every minute, or by hand."""

from django_qerko.tending.reconciling import take_back

__all__ = ["take_back"]
