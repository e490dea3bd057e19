"""A request whose signature did not verify, the keys that may have made it, and how much work it is worth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from django_qerko.receiving.explaining.bodies import Change, earlier_bodies
from django_qerko.receiving.explaining.causes import Cause
from django_qerko.receiving.explaining.effort import Effort
from django_qerko.signatures import Mac, SignedRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """``own`` are the keys of the restaurant that was called, ``others`` those of the rest, by their rows."""

    request: SignedRequest
    effort: Effort
    own: Sequence[Mac] = field(repr=False)
    others: Sequence[tuple[int, Mac]] = field(default=(), repr=False)
    #: Addresses that the project knows itself by.
    origins: Sequence[str] = ()

    def keys(self, *, of_others: bool) -> Iterator[tuple[Mac, tuple[Cause, ...]]]:
        """The keys to try, and what it says if one fits."""
        yield from ((mac, ()) for mac in self.own)
        if of_others:
            for key, mac in self.others:
                told = "It was signed with the key of another restaurant."
                yield mac, (Cause(name="other_key", told=told, key=key),)

    def bodies(self) -> Iterator[tuple[Change, bytes]]:
        """Bodies that this one may have been made of, and how."""
        for change, body in earlier_bodies(self.request.body):
            self.effort.spend((len(body) + 64) * change.weight)
            if body != self.request.body:
                yield change, body

    def line(self, name: str) -> str | None:
        """A header's value; ``None`` where it is not there."""
        lines = [value for known, value in self.request.headers if known.lower() == name]
        return ", ".join(lines) if lines else None


def changed(change: Change, more: str = "") -> Cause:
    return Cause(name=change.name, told=f"The body was changed after it was signed: {change.told}{more}.")
