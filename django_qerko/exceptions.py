"""Name everything that can go wrong, one class per reaction."""

from __future__ import annotations

from typing import Any, ClassVar


class QerkoError(Exception):
    """Something between Qerko and us went wrong."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).default_message())

    @classmethod
    def default_message(cls) -> str:
        return (cls.__doc__ or "").partition("\n")[0]


# -- A delivery that is turned away at the door (protocol, sections 2 and 3) -------------------


class Rejection(QerkoError):
    """The delivery was turned away.

    ``status`` and ``code`` are all that the caller hears (protocol section 3, A). ``reason`` is a slug
    for counters, ``finding`` the operator's sentence; neither ever leaves this machine.
    """

    status: ClassVar[int] = 400
    code: ClassVar[str | None] = "BAD_PAYLOAD"
    public_message: ClassVar[str] = "The request was not understood."

    def __init__(self, reason: str, finding: str | None = None) -> None:
        super().__init__(finding)
        self.reason = reason
        self.finding = str(self)
        #: Whose door it was, where that is known, and what was read of the body: for counting, not for the caller.
        self.restaurant: Any = None
        self.body = b""
        #: When it began to arrive, in Unix seconds, where somebody looked.
        self.received: float | None = None


class UnknownRestaurant(Rejection):
    """No restaurant listens at this address."""

    status = 404
    code = "NOT_FOUND"
    public_message = "There is nothing at this address."


class TooLarge(Rejection):
    """The body is larger than MAX_BODY_BYTES."""

    status = 413
    public_message = "The body is too large."


class Forged(Rejection):
    """No key of this restaurant made this signature."""

    status = 401
    code = "UNAUTHORIZED"
    public_message = "The signature does not match."


class OutOfWindow(Rejection):
    """The signature is right, but its time window is missing or not now."""

    status = 410
    code = "TIME_LIMIT_EXPIRED"
    public_message = "The request is outside its time window."


class Malformed(Rejection):
    """The delivery is genuine, but it is not what the protocol describes."""


# -- What a handler may say instead of an answer ------------------------------------------------


class DomainError(QerkoError):
    """The point of sale refuses, with a code that Qerko understands.

    ``code`` is one of protocol section 5 (C) or an event's own code of section 4 (D); ``None`` where
    no code fits. ``message`` is shown to nobody but Qerko.

    Raises TypeError when the code is no string.
    """

    def __init__(self, code: str | None, message: str | None = None) -> None:
        if code is not None and not isinstance(code, str):
            raise TypeError(f"A domain error's code is a string or None, not {code!r}")
        super().__init__(message)
        self.code = code
        self.message = str(self)


class BillClosed(DomainError):
    """The bill is closed."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__("BILL_CLOSED", message)


class BillNotFound(DomainError):
    """There is no such bill."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__("BILL_NOT_FOUND", message)


class QrInvalid(DomainError):
    """The QR code is not one of ours."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__("QR_INVALID", message)


class NobodyAnswered(DomainError):
    """No handler knows an answer to this event."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__("NO_SUCH_METHOD", message)


# -- A handling that did not come to its end -----------------------------------------------------


class HandlingFailed(QerkoError):
    """The handlers did not come to one answer."""


class SeveralAnswered(HandlingFailed):
    """More than one handler answered."""


class WrongAnswer(HandlingFailed, TypeError):
    """A handler answered with something that does not answer this event."""


class ClaimLost(QerkoError):
    """The handling took so long that its claim ran out; what it wrote is undone."""


class StepRefused(QerkoError):
    """A payment does not go from its state to that one."""


class TooLate(QerkoError):
    """The question came after its deadline, and nobody waits for an answer."""


class Busy(QerkoError):
    """The event is being handled elsewhere, or cannot be taken in now."""


# -- A call of ours to Qerko that was not taken (protocol section 3) -------------------------------


class CallFailed(QerkoError):
    """Qerko did not take our call.

    ``status`` is Qerko's HTTP status, ``None`` where there was none; ``reason`` says in one line what was seen,
    without key and body.
    """

    def __init__(self, reason: str, *, status: int | None = None) -> None:
        super().__init__(f"{self.default_message()} {reason}")
        self.reason = reason
        self.status = status


class NotSent(CallFailed, ConnectionError):
    """The call did not reach Qerko, and may be tried again."""


class Unconfirmed(CallFailed, TimeoutError):
    """The call may have reached Qerko, which did not confirm it; it may be tried again."""


class Refused(CallFailed, ValueError):
    """Qerko refused the call for good."""
