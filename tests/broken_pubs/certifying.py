"""Certify a point of sale as a test needs it: sooner out of patience than Qerko."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from django_qerko.certifying import RULES, Outcome, Rule, Verdict, on_stage
from django_qerko.certifying.catalogue import try_all
from django_qerko.certifying.playing import Play
from django_qerko.keys import ApiKey
from django_qerko.sandbox.conversation import PointOfSale
from tests.broken_pubs.pub import KEY, Pub, opening


@contextmanager
def playing(pub: Pub) -> Iterator[Play]:
    """Open a pub, and have Qerko listen to its replies."""

    def find(api_url: str) -> PointOfSale:
        pub.api_url = api_url
        return PointOfSale(url=pub.url, api_key=ApiKey(KEY), name="A pub")

    with opening(pub), on_stage(find, patience=pub.patience) as play:
        try:
            yield play
        finally:
            # A letter that is still on its way would find nobody any more.
            pub.wait_for_letters()


def certified(pub: Pub, *, only: Sequence[str] = ()) -> Mapping[str, Verdict]:
    """The verdicts on a pub by the names of the rules."""
    rules: list[Rule] = [rule for rule in RULES if not only or rule.name in only]
    with playing(pub) as play:
        return {rule.name: verdict for rule, verdict in try_all(rules, play)}


def of(verdicts: Mapping[str, Verdict], outcome: Outcome) -> list[str]:
    """The names of the rules with this outcome."""
    return [name for name, verdict in verdicts.items() if verdict.outcome is outcome]
