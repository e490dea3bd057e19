"""The only HTTP to Qerko: pooled, every failure translated into *not sent*, *unconfirmed* or *refused*."""

from django_qerko.client.calling import QerkoClient, QerkoRestaurant

__all__ = ["QerkoClient", "QerkoRestaurant"]
