"""Know whether a recording Qerko listens: only then may anything leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_qerko import conf

if TYPE_CHECKING:
    from django_qerko.testing.recording import RecordingQerko


class Address(str):
    """The ``BASE_URL`` of a recording Qerko; whatever else stands there might be the real one."""

    __slots__ = ("qerko",)

    qerko: RecordingQerko

    def __new__(cls, url: str, qerko: RecordingQerko) -> Address:
        address = super().__new__(cls, url)
        address.qerko = qerko
        return address


def listener() -> RecordingQerko | None:
    """The recording Qerko that ``BASE_URL`` leads to, if it leads to one."""
    address = conf.given().get("BASE_URL")
    return address.qerko if isinstance(address, Address) else None
