"""The test kit in a ``TestCase`` of Django's."""

from __future__ import annotations

from typing import Any

from django.test import TestCase, override_settings

from django_qerko import queueing
from django_qerko.answers import Bill
from django_qerko.conf import conf, given
from django_qerko.models import Reply
from django_qerko.signals import bill_requested
from django_qerko.testing import pass_deadline, work
from django_qerko.testing.cases import QerkoTestMixin
from django_qerko.testing.deadlines import STANDSTILL


def show_bill(event: Any, **_: Any) -> Bill:
    return Bill(id=event.bill_id, currency="CZK", items=[])


class TestMixin(QerkoTestMixin, TestCase):
    databases = "__all__"

    def setUp(self) -> None:
        super().setUp()
        bill_requested.connect(show_bill)
        self.addCleanup(bill_requested.disconnect, show_bill)

    def test_a_bill_is_shown(self) -> None:
        assert self.qerko_client.deliver("getBill", bill_id="7").answer["id"] == "7"

    def test_a_forgery_is_turned_away(self) -> None:
        delivered = self.qerko_client.deliver("getBill", tamper="key")

        assert delivered.status == 401
        assert delivered.record is None

    def test_a_reply_is_recorded(self) -> None:
        qerko = self.record_qerko()
        with override_settings(QERKO={**given(), "ANSWER_LATER": ["getBill"]}):
            self.qerko_client.deliver("getBill", bill_id="7")

        assert [reply.answer["id"] for reply in qerko.replies] == ["7"]
        assert Reply.objects.get().state == Reply.State.DELIVERED

    def test_a_deadline_stands_still_until_it_is_passed(self) -> None:
        self.freeze_deadline()
        assert conf.REPLY_DEADLINE == STANDSTILL
        with override_settings(QERKO={**given(), "ANSWER_LATER": ["getBill"]}):
            record = self.qerko_client.deliver("getBill", works=False).record

        assert record is not None
        pass_deadline(record)
        work()
        record.look_again()
        assert record.is_stale

    def test_no_broker_is_asked(self) -> None:
        assert queueing.ring(queueing.SWEEP, 1)
