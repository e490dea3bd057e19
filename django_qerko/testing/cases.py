"""The test kit for ``unittest``: a mixin for a ``TestCase`` of Django's."""

from __future__ import annotations

from unittest import TestCase

from django_qerko.models import Restaurant
from django_qerko.testing.client import SignedClient
from django_qerko.testing.deadlines import frozen_deadline
from django_qerko.testing.isolating import isolated
from django_qerko.testing.recording import RecordingQerko
from django_qerko.testing.rows import make_restaurant


class QerkoTestMixin(TestCase):
    """Stands before Django's class: ``class PayingTests(QerkoTestMixin, TestCase)``.

    ``qerko_restaurant`` has a key, and ``qerko_client`` delivers to it. What is opened here is closed when the test is
    over.
    """

    qerko_restaurant: Restaurant
    qerko_client: SignedClient

    def setUp(self) -> None:
        super().setUp()
        self.enterContext(isolated())
        self.qerko_restaurant = self.make_qerko_restaurant()
        self.qerko_client = SignedClient(self.qerko_restaurant)

    def make_qerko_restaurant(self) -> Restaurant:
        """For a project that makes its restaurants in its own way to override."""
        return make_restaurant()

    def record_qerko(self) -> RecordingQerko:
        """From now on a Qerko listens, and takes what leaves."""
        return self.enterContext(RecordingQerko(self.qerko_restaurant))

    def freeze_deadline(self) -> None:
        """From now on no deadline passes by itself; ``pass_deadline`` passes it."""
        self.enterContext(frozen_deadline())
