"""Why a delivery was turned away, as a word and a sentence, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

#: A sentence is cut here: some of its words are a stranger's.
MAX_TOLD: Final = 400

_PROXY: Final = "Let nothing between Qerko and this project change"
_TELL: Final = "Tell Qerko; a proxy may have done it."

#: Every cause, and its cure.
CURES: Final[Mapping[str, str]] = {
    "other_key": "Give Qerko the address that belongs to the key, or give this restaurant its key: qerko_restaurant.",
    "no_key": "Give the restaurant a key: qerko_restaurant rotate. The log says where one cannot be read.",
    "unexplained": "Compare the last four characters of the key with Qerko's. If they agree, save a whole request in a"
    " file and diagnose that: with its body much more can be found.",
    "signature_missing": "If Qerko sent it, let the proxy pass on Signature, Signature-Input and Signature-SHA256.",
    "scheme_missing": "Name both schemes in SIGNATURE_SCHEMES, or let the proxy pass on the headers of the one.",
    "half_signature": "Let the proxy pass on both Signature and Signature-Input; look at its limit for headers.",
    "signature_unreadable": f"{_TELL} A limit for the length of headers cuts them, for one.",
    "signature_spelling": _TELL,
    "signature_doubled": "Let the proxy pass on the header once.",
    "signature_changed": f"{_PROXY} the header Signature-SHA256.",
    "header_folded": f"{_PROXY} long headers: it breaks lines, which HTTP has given up.",
    "header_dropped": "Let the proxy pass on this header.",
    "header_changed": f"{_PROXY} the headers that are signed.",
    "label_mismatch": _TELL,
    "too_many_labels": "Let the proxy put its own signature after Qerko's, or none.",
    "algorithm": "None of ours: Qerko signs with hmac-sha256, as far as is known.",
    "address_changed": "Set QERKO['PUBLIC_URL'] to the scheme and host that Qerko calls; where the path differs, let"
    " the proxy pass it on unchanged.",
    "body_changed": f"{_PROXY} bodies.",
    "body_newline": f"{_PROXY} bodies.",
    "body_line_ends": f"{_PROXY} bodies.",
    "body_charset": f"{_PROXY} bodies: switch off its conversion of charsets.",
    "body_normalised": f"{_PROXY} bodies: switch off its normalisation of Unicode.",
    "body_reencoded": f"{_PROXY} bodies: a gateway that reads JSON must pass on the bytes that it read.",
    "body_framed": "Let the proxy buffer requests, or use a server that takes chunked bodies, as gunicorn does.",
    "body_lost": "Let the proxy buffer requests, and pass on their bodies with a Content-Length.",
    "body_not_bound": "None of ours: Qerko must sign the body, too.",
    "body_cut": "Look at the proxy, its time-outs and its limits.",
    "chunked_body_lost": "Let the proxy buffer requests, or use a server that takes chunked bodies, as gunicorn does.",
    "clock_behind": "Set this machine's clock by NTP; QERKO['CLOCK_SKEW'] tolerates seconds.",
    "expired": "Set this machine's clock by NTP; look for a proxy or a queue that holds requests back.",
    "expired_while_read": "Let the proxy buffer requests, so that a slow sender is waited for there.",
    "window_missing": "None of ours: Qerko must say from when until when a request is valid.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One cause. ``key`` is the row of a key of another restaurant: who reads it looks up what may be shown of it."""

    name: str
    told: str
    key: int | None = None

    @property
    def cure(self) -> str:
        return CURES.get(self.name, "")

    def as_json(self) -> dict[str, Any]:
        """As it is kept: cut, and what cannot be printed is escaped, because databases refuse some of it."""
        told = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in self.told[:MAX_TOLD])
        return {"cause": self.name, "told": told} | ({} if self.key is None else {"key": self.key})

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        return cls(name=kept["cause"], told=kept["told"], key=kept.get("key"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was found of one signature.

    Explained, ``causes`` are what was done to the request; none: the signature verifies. Not explained, they are what
    is wrong with it as it stands, and ``covered`` are the components of its labels.
    """

    is_explained: bool
    causes: tuple[Cause, ...] = ()
    covered: tuple[str, ...] = ()


def explained(*causes: Cause) -> Verdict:
    return Verdict(is_explained=True, causes=causes)


def unexplained(*causes: Cause, covered: Iterable[str] = ()) -> Verdict:
    return Verdict(is_explained=False, causes=causes, covered=tuple(dict.fromkeys(covered)))
