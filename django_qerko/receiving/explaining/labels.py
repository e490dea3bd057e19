"""Why no label of an RFC 9421 signature verifies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from hmac import compare_digest
from typing import Final

from django_qerko.exceptions import Forged
from django_qerko.receiving.explaining.case import Case, changed
from django_qerko.receiving.explaining.causes import Cause, Verdict, explained, unexplained
from django_qerko.receiving.explaining.earlier import earlier_requests, missing_fields
from django_qerko.receiving.explaining.effort import IN_A_BASE, PARSED
from django_qerko.signatures import (
    HMAC_SHA256,
    MAX_LABELS,
    MAX_PARSED,
    Label,
    SignedRequest,
    content_digest,
    label_names,
    read_label,
    signature_base,
)

#: Labels that are looked at here: some more than count, so that one that comes too late is found.
MAX_EXAMINED: Final = 2 * MAX_LABELS
_MAC_LENGTH: Final = 32
_LINE: Final = 80
_QUOTED: Final = re.compile(r'"[^"]*"')
_INNER_LIST: Final = re.compile(r"(\([^()]*\))")
_FIRST_LABEL: Final = re.compile(r"[a-z*][a-z0-9_.*-]*(?==)")
_ALGORITHMS: Final = ("sha-256", "sha-512")


def explain_labels(case: Case, *, is_bound: bool) -> Verdict:
    """What must have been done to the request so that one of its labels is what it is.

    ``is_bound``: another signature binds the body.
    """
    for name, other in (("Signature", "Signature-Input"), ("Signature-Input", "Signature")):
        if case.line(name.lower()) is None:
            told = f"{other} is there, and {name} is not: half a signature is none."
            return unexplained(Cause(name="half_signature", told=told))
    complaints: list[Cause] = []
    covered: list[str] = []
    for causes, request in _readings(case.request):
        for index, name in enumerate(_names(case, request, complaints)):
            verdict = _explain_label(case, request, name, is_bound=is_bound)
            if verdict.is_explained:
                return explained(*causes, *_too_late(name, index), *verdict.causes)
            complaints += () if causes else verdict.causes
            covered += verdict.covered
    return unexplained(*complaints, covered=covered)


def _readings(request: SignedRequest) -> Iterator[tuple[tuple[Cause, ...], SignedRequest]]:
    """The signature as it came, and as it may have been before something broke or relabelled it."""
    yield (), request
    mended = replace(request, headers=[(name, _mended(name.lower(), value)) for name, value in request.headers])
    if mended != request:
        told = "A header of the signature was broken into several lines on its way, or has spaces in it."
        yield (Cause(name="header_folded", told=told),), mended
    values = {name.lower(): value for name, value in request.headers}
    label, other = (_FIRST_LABEL.match(values[name]) for name in ("signature-input", "signature"))
    if label and other and label[0] != other[0]:
        headers = [
            (name, _FIRST_LABEL.sub(label[0], value, count=1) if name.lower() == "signature" else value)
            for name, value in request.headers
        ]
        yield (_mismatch(label[0], other[0]),), replace(request, headers=headers)


def _mended(name: str, value: str) -> str:
    match name:
        case "signature" | "content-digest":
            return "".join(value.split())
        case "signature-input":
            parts = _INNER_LIST.split(_QUOTED.sub(lambda quoted: "".join(quoted[0].split()), value))
            return "".join(part if part.startswith("(") else "".join(part.split()) for part in parts)
    return value


def _mismatch(label: str, other: str) -> Cause:
    told = f"Signature-Input speaks of the label {label!r:.40}, and Signature of {other!r:.40}."
    return Cause(name="label_mismatch", told=told)


def _names(case: Case, request: SignedRequest, complaints: list[Cause]) -> list[str]:
    _spend_for_parsing(case, request)
    try:
        return label_names(request)[:MAX_EXAMINED]
    except Forged as failure:
        complaints += () if complaints else (Cause(name="signature_unreadable", told=failure.finding),)
        return []


def _spend_for_parsing(case: Case, request: SignedRequest) -> None:
    lengths = [len(value) for name, value in request.headers if name.lower() in {"signature", "signature-input"}]
    case.effort.spend(sum(lengths) * PARSED)


def _too_late(name: str, index: int) -> tuple[Cause, ...]:
    if index < MAX_LABELS:
        return ()
    told = f"The label {name!r:.40} is number {index + 1}; only the first {MAX_LABELS} are looked at."
    return (Cause(name="too_many_labels", told=told),)


def _explain_label(case: Case, request: SignedRequest, name: str, *, is_bound: bool) -> Verdict:
    _spend_for_parsing(case, request)
    try:
        label = read_label(request, name)
    except Forged as failure:
        is_alone = failure.finding.endswith("only.")
        return unexplained(Cause(name="label_mismatch" if is_alone else "signature_unreadable", told=failure.finding))
    if complaint := _unlike_ours(name, label):
        return unexplained(complaint)
    for causes, earlier in earlier_requests(case, request, label):
        base = _base(case, earlier, label)
        for mac, more in case.keys(of_others=earlier is request) if base else ():
            case.effort.spend(len(base or b""))
            if compare_digest(mac(base or b""), label.signature):
                return explained(*more, *causes, *_of_the_body(case, earlier, label, is_bound=is_bound))
    covered = [component for component, _ in label.components]
    return unexplained(*_uncovered(request, name, label), covered=covered)


def _unlike_ours(name: str, label: Label) -> Cause | None:
    algorithm = label.parameters.get("alg", HMAC_SHA256)
    if algorithm != HMAC_SHA256 or len(label.signature) != _MAC_LENGTH:
        told = f"The label {name!r:.40} has the algorithm {algorithm!s:.40} and {len(label.signature)} bytes;"
        return Cause(name="algorithm", told=f"{told} Qerko's has hmac-sha256 and {_MAC_LENGTH}.")
    return None


def _base(case: Case, request: SignedRequest, label: Label) -> bytes | None:
    """The signature base, or ``None`` where this request has not all that is covered. Either is work."""
    case.effort.spend(_weight(request, label))
    try:
        return signature_base(request, label.components, label.parameters)
    except ValueError:
        return None


def _weight(request: SignedRequest, label: Label) -> int:
    """A line or so for each component; with parameters, their headers may have to be parsed for each base."""
    weight = (len(label.components) + 1) * _LINE * IN_A_BASE
    if any(parameters for _, parameters in label.components):
        weight += min(sum(len(value) for _, value in request.headers), MAX_PARSED) * PARSED
    return weight


def _uncovered(request: SignedRequest, name: str, label: Label) -> Iterator[Cause]:
    if missing := missing_fields(request, label):
        told = f"The signature covers {', '.join(missing):.200}, which is not there: something took it away."
        yield Cause(name="header_dropped", told=told)
        return
    try:
        signature_base(request, label.components, label.parameters)
    except ValueError as error:
        yield Cause(name="signature_unreadable", told=f"The label {name!r:.40} covers too much. {error!s:.200}")


def _of_the_body(case: Case, request: SignedRequest, label: Label, *, is_bound: bool) -> Iterator[Cause]:
    """What was done to the body, where the headers are as they were signed."""
    covered = {component for component, _ in label.components}
    digests = ", ".join(value for name, value in request.headers if name.lower() == "content-digest")
    known = [algorithm for algorithm in _ALGORITHMS if f"{algorithm}=" in digests]
    if "content-digest" not in covered or not known:
        if not is_bound:
            yield Cause(name="body_not_bound", told="The signature is right, but it covers no digest of the body.")
        return
    if all(_has(digests, request.body, algorithm) for algorithm in known):
        return
    for change, body in case.bodies():
        case.effort.spend(len(body))
        if all(_has(digests, body, algorithm) for algorithm in known):
            yield changed(change)
            return
    if case.request.body:
        told = "The body is not the one that was signed, and its Content-Digest is; how it was changed is not known."
        yield Cause(name="body_changed", told=told)
    else:
        yield Cause(name="body_lost", told="No body arrived, and one was signed: it was lost on its way.")


def _has(digests: str, body: bytes, algorithm: str) -> bool:
    return content_digest(body, algorithm).partition("=")[2] in digests
