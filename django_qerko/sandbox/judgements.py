"""Every judgement that the sandbox can pass on a point of sale, and the section of the protocol that it is about."""

from __future__ import annotations

from enum import Enum
from string import Formatter

from django_qerko.sandbox.conversation import Finding


class Judgement(Enum):
    """A violation of the protocol; called with the words that its text wants, it gives the finding."""

    SILENCE = (3, "Qerko got no answer: {why}")
    FORGERY_BELIEVED = (2, "a forged delivery is answered 401, not {status}")
    OUTSIDE_WINDOW_BELIEVED = (2, "a delivery outside its time window is answered 410, not {status}")
    GENUINE_TAKEN_FOR_FORGED = (
        2,
        "a genuine delivery in its time was turned away with 401: has it the same API key?",
    )
    GENUINE_TAKEN_FOR_OLD = (2, "a genuine delivery in its time was turned away with 410: is its clock right?")
    UNKNOWN_STATUS = (3, "{status} is no status that Qerko knows")
    NO_JSON = (3, "the body is not JSON: {why}")
    ERROR_FORM = (3, 'an error is {{"code": a string or null, "message": a string}}')
    UNKNOWN_CODE = (4, "{event} has no error code {code}")
    ANSWER_FORM = (5, "{fault}")
    AMOUNT_AS_NUMBER = (5, "{place}: an amount is a decimal string, not a number")
    UNKNOWN_KEY = (1, "the bearer token is missing, or no known API key")
    NO_POS_ID = (1, "the Pos-Id is missing, or no UUID")
    NO_PAYMENT_ID = (3, 'the body is {{"paymentId": a string}}')
    NO_REPLY = (3, "a 202 was said, and no reply came in time")
    REPLY_TOO_LONG = (3, "the body has more than {most} bytes")
    REPLY_NO_JSON = (3, "the body of the reply is not JSON: {why}")
    REPLY_FORM = (3, 'a reply is an object with an "id" and an "event", both strings')
    REPLY_RESULT_OR_ERROR = (3, 'a reply has either a "result" or an "error"')
    REPLY_TO_NOTHING = (3, "no event of this id was asked")
    REPLY_TO_ANOTHER_EVENT = (3, "the event of this id is {event}")
    REPLY_NOT_AWAITED = (3, "the event was answered {instead}, and not 202")
    REPLY_TOO_LATE = (3, "the reply came later than {seconds:g} seconds")
    REPLY_REPEATED = (3, "the same answer was taken already")

    @property
    def section(self) -> int:
        return self.value[0]

    @property
    def text(self) -> str:
        """What is said; in braces, what differs from case to case."""
        return self.value[1]

    @property
    def in_general(self) -> str:
        """What is said, without what differs."""
        parts = Formatter().parse(self.text)
        return "".join(words + ("" if varying is None else "…") for words, varying, *_ in parts)

    def __call__(self, **words: object) -> Finding:
        return Finding(section=self.section, text=self.text.format(**words), judgement=self.name)
