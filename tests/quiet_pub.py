"""The example's pub without its handlers, so that other tests' receivers are alone."""

from __future__ import annotations

from inspect import getmembers, isfunction

from django_qerko.signals import QUESTIONS
from example_project.pub.apps import PubConfig


class QuietPub(PubConfig):
    def ready(self) -> None:
        """Connect nothing that stays: a test that wants the pub to answer connects its handlers itself."""
        super().ready()
        from example_project.pub import handlers, payments  # noqa: PLC0415  # models first

        for module in (handlers, payments):
            for _, function in getmembers(module, isfunction):
                for question in QUESTIONS.values():
                    question.signal.disconnect(function)
