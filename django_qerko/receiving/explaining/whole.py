"""Say why a signature was refused, from what both signatures tell."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from django_qerko.receiving.explaining.case import Case
from django_qerko.receiving.explaining.causes import Cause, Verdict, unexplained
from django_qerko.receiving.explaining.effort import Exhausted
from django_qerko.receiving.explaining.labels import explain_labels
from django_qerko.receiving.explaining.plain import explain_plain
from django_qerko.signatures import HMAC_SHA256, RFC9421, SCHEMES

_HEADERS: Final = {
    RFC9421: ("signature", "signature-input"),
    HMAC_SHA256: ("signature-sha256",),
}


def explain(case: Case, schemes: Sequence[str] = SCHEMES) -> list[Cause]:
    """The causes for which a request's signature is refused; none where it verifies. Raises nothing.

    ``schemes`` are those that the project names; one alone is required.
    """
    present = [scheme for scheme in SCHEMES if any(case.line(name) is not None for name in _HEADERS[scheme])]
    if not present:
        told = "There is no Signature, no Signature-Input and no Signature-SHA256."
        return [Cause(name="signature_missing", told=told)]
    plain = labels = None
    if HMAC_SHA256 in present:
        plain = unexplained()
        with suppress(Exhausted):
            plain = explain_plain(replace(case, effort=case.effort.half()))
    if RFC9421 in present:
        labels = unexplained()
        with suppress(Exhausted):
            labels = explain_labels(case, is_bound=plain is not None)
    found = [*_missing(schemes, present), *_together(plain, labels, is_empty=not case.request.body)]
    return list({(cause.name, cause.key): cause for cause in reversed(found)}.values())[::-1]


def _missing(schemes: Sequence[str], present: Sequence[str]) -> list[Cause]:
    if len(schemes) != 1 or schemes[0] in present:
        return []
    told = f"The project requires {schemes[0]}, and only {', '.join(present)} is there."
    return [Cause(name="scheme_missing", told=told)]


def _together(plain: Verdict | None, labels: Verdict | None, *, is_empty: bool) -> list[Cause]:
    """What the two say, and what one says of the other: the key and the body are the same for both."""
    verdicts = [verdict for verdict in (plain, labels) if verdict is not None]
    causes = [cause for verdict in verdicts for cause in verdict.causes]
    open_ones = [verdict for verdict in verdicts if not verdict.is_explained]
    if not open_ones or any(verdict.causes for verdict in open_ones):
        return causes
    if len(open_ones) == len(verdicts):
        return [_nothing_fits(is_empty=is_empty)]
    if any(cause.name == "other_key" or cause.name.startswith("body_") for cause in causes):
        return causes
    return [*causes, _the_rest(labels) if open_ones[0] is labels else _of_the_header()]


def _the_rest(labels: Verdict) -> Cause:
    told = (
        "The key is right and the body is whole, because Signature-SHA256 verifies. So something else was changed of"
        f" what Signature-Input covers, which is {', '.join(labels.covered):.200}."
    )
    return Cause(name="header_changed", told=told)


def _of_the_header() -> Cause:
    told = (
        "The key is right, because the RFC 9421 signature verifies; Signature-SHA256 does not fit the body. Either that"
        " header was changed, or a body that the other signature does not cover."
    )
    return Cause(name="signature_changed", told=told)


def _nothing_fits(*, is_empty: bool) -> Cause:
    if is_empty:
        return Cause(name="body_lost", told="No body arrived. If one was sent, it was lost on its way.")
    told = (
        "No key that is known here made the signature, and no change that is known explains it. Either the key is one"
        " that is not known here, mistyped or rotated away, or a stranger sent this."
    )
    return Cause(name="unexplained", told=told)
