"""Know a Qerko's bad manners, and throw the dice for them."""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from django_qerko.sandbox.calling import Cut
from django_qerko.sandbox.conversation import Exchange, Question
from django_qerko.sandbox.signing import tamperings

#: A member that nobody knows (protocol section 2, D: it is never an error), and what stands in it.
NEWS: Final = "qerkoNews"
_NEWS: Final[Mapping[str, Any]] = {"since": "2026-11-24", "of": [1, {"nothing": None}]}
#: What comes back as it was given is not touched (protocol section 5, D).
_ECHOED: Final = "additionalData"
#: How late an event is that another one overtakes, in seconds at most.
_LATEST: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How often a Qerko does what it should not, each a share from 0 to 1; without any it behaves well.

    ``slow`` is in seconds, before each answer to the point of sale. ``fail`` is answered 503, ``cut`` are connections
    that are cut in both directions, ``twice`` and ``reorder`` are deliveries that come twice, or too late, and
    ``forge`` are forgeries beside the genuine ones. Raises ValueError for what is no share.
    """

    slow: float = 0.0
    fail: float = 0.0
    cut: float = 0.0
    twice: float = 0.0
    reorder: float = 0.0
    forge: float = 0.0
    unknown_members: bool = False

    def __post_init__(self) -> None:
        if not all(0 <= share <= 1 for share in (self.fail, self.cut, self.twice, self.reorder, self.forge)):
            raise ValueError("A share is a number from 0 to 1.")
        if not self.slow >= 0:
            raise ValueError("Nobody answers before they are asked.")

    def __str__(self) -> str:
        return ", ".join(self._words())

    def _words(self) -> Iterator[str]:
        """What it does, in words; nothing where it behaves well."""
        if self.slow:
            yield f"answers after {self.slow:g} s"
        for verb, share in (
            ("fails", self.fail),
            ("cuts", self.cut),
            ("delivers twice", self.twice),
            ("reorders", self.reorder),
            ("forges", self.forge),
        ):
            if share:
                yield f"{verb} {share:.0%}"
        if self.unknown_members:
            yield "says what nobody knows"


class Misbehaviour:
    """One Qerko's dice, asked wherever it might misbehave. Safe to use from several threads.

    There is one dice for each kind of misbehaviour, so that one guest after the other has the same evening again with
    the same ``seed``. Guests at the same time throw in whatever order they come.
    """

    def __init__(self, manners: Manners, *, seed: int | None = None) -> None:
        self.manners = manners
        self.seed = random.randrange(1_000_000) if seed is None else seed  # noqa: S311  # no secret
        self._lock = threading.Lock()
        self._dice: dict[str, random.Random] = {}
        self._closed = threading.Event()

    def __str__(self) -> str:
        return f"{self.manners} (--seed {self.seed})"

    def close(self) -> None:
        """Let nobody wait any more."""
        self._closed.set()

    # -- What the point of sale asks ---------------------------------------------------------------

    def take_time(self) -> None:
        """Be slow."""
        self._closed.wait(self.manners.slow)

    def fails(self) -> bool:
        """Whether a call is answered 503, and nothing else happens."""
        return self._happens("fail", self.manners.fail)

    def cuts(self) -> bool:
        """Whether Qerko does what a call wants, and hangs up before the answer is whole."""
        return self._happens("cut an answer", self.manners.cut)

    def is_halfway(self) -> bool:
        """Whether it hangs up in the midst of the answer, and not before it."""
        return self._happens("halfway", 0.5)

    # -- What the point of sale is told ------------------------------------------------------------

    def cut(self) -> Cut | None:
        """Where the connection of a delivery is cut, if it is."""
        return self._choose("where", tuple(Cut)) if self._happens("cut", self.manners.cut) else None

    def overtaken_by(self) -> float | None:
        """After how many seconds an event leaves that the next one overtakes; ``None`` where it does not."""
        return self._throw("late") * _LATEST if self._happens("reorder", self.manners.reorder) else None

    def embroidered(self, value: Any) -> Any:
        """JSON with a member that nobody knows in every object, but for what is echoed."""
        if not self.manners.unknown_members:
            return value
        if isinstance(value, Mapping):
            known = {name: said if name == _ECHOED else self.embroidered(said) for name, said in value.items()}
            return {**known, NEWS: _NEWS}
        return [self.embroidered(said) for said in value] if isinstance(value, list | tuple) else value

    def bring(self, question: Question, deliver: Callable[[Question], Exchange]) -> Exchange:
        """Deliver as this Qerko does: once, or twice, and perhaps a forgery before it.

        Gives the exchange that was answered; the first where both were, or none.
        """
        if question.tamper is not None:
            return deliver(question)
        if self._happens("forge", self.manners.forge):
            deliver(self._forged(question))
        if not self._happens("twice", self.manners.twice):
            return deliver(question)
        first, second = _deliver_twice(question, deliver, at_once=self._happens("at once", 0.5))
        return first if first.is_answered else second

    def _forged(self, question: Question) -> Question:
        """The same as a forger would say it: under another id, so that it is found where it was believed."""
        return replace(
            question,
            event_id=f"forged-{uuid.uuid4()}",
            tamper=self._choose("tampering", tamperings(question.schemes)),
        )

    def _happens(self, kind: str, share: float) -> bool:
        return share > 0 and self._throw(kind) < share

    def _choose(self, kind: str, among: tuple[Any, ...]) -> Any:
        return among[int(self._throw(kind) * len(among))]

    def _throw(self, kind: str) -> float:
        with self._lock:
            if kind not in self._dice:
                self._dice[kind] = random.Random(f"{self.seed} {kind}")  # noqa: S311  # it is to be foreseen
            return self._dice[kind].random()


def _deliver_twice(
    question: Question, deliver: Callable[[Question], Exchange], *, at_once: bool
) -> tuple[Exchange, Exchange]:
    if not at_once:
        return deliver(question), deliver(question)
    second: list[Exchange] = []
    twin = threading.Thread(target=lambda: second.append(deliver(question)), daemon=True)
    twin.start()
    first = deliver(question)
    twin.join()
    return first, (second or [first])[0]
