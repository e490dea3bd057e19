"""A socket whose every step ends when its clock says so: a time-out starts again with every byte, and ends nothing."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import SplitResult

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

#: More bytes of a response are not read, its head included.
LIMIT: Final = 65_536
#: Seconds for which a connection may rest and be used again. Many servers close theirs after five, and some routers
#: forget it without a word: what is sent then is waited for in vain.
REST: Final = 4.0
#: ``SO_LINGER``: closing throws away what waits in the kernel to be sent.
_AT_ONCE: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody listens."""

    secure: bool
    host: str
    port: int

    @classmethod
    def of(cls, url: SplitResult) -> Self:
        """Raises ValueError for what is no address of http or https."""
        default = {"http": 80, "https": 443}.get(url.scheme)
        if default is None or not url.hostname:
            raise ValueError("This is no address of http or https.")
        return cls(secure=url.scheme == "https", host=url.hostname, port=url.port or default)


class ResponseTooLong(HTTPException):
    """The response is longer than LIMIT."""


class Wire(socket.socket):
    """A connected socket whose every step ends by ``until``, which counts what it reads and knows whether it sent."""

    place: Place
    until: float = 0.0
    unread: int = LIMIT
    has_sent: bool = False
    rests_since: float = 0.0

    def __del__(self) -> None:
        # One that rested until its process ended, or its pool was dropped, is nobody's fault.
        self.close()

    def begin(self, until: float) -> None:
        """Begin another exchange."""
        self.until, self.unread, self.has_sent = until, LIMIT, False

    def wind(self) -> None:
        """Give the next step what time is left. Raises TimeoutError where there is none."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.settimeout(left)

    def send(self, data: ReadableBuffer, flags: int = 0) -> int:
        self.wind()
        count = super().send(data, flags)
        self.has_sent = True
        return count

    def sendall(self, data: ReadableBuffer, flags: int = 0) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self.send(rest, flags) :]

    def recv_into(self, buffer: WriteableBuffer, nbytes: int | None = None, flags: int = 0) -> int:
        self.wind()
        if not self.unread:
            raise ResponseTooLong
        count = super().recv_into(buffer, min(nbytes or memoryview(buffer).nbytes, self.unread), flags)
        self.unread -= count
        return count

    def is_usable(self) -> bool:
        """Whether it may be used again: not for long at rest, and neither closed nor spoken on unasked."""
        if time.monotonic() - self.rests_since > REST:
            return False
        self.setblocking(False)
        try:
            # Not the method: a TLS socket has another, which would wait for a whole record.
            socket.socket.recv(self, 1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def tear_down(self) -> None:
        """Close, unless that is done, and send nothing of what the kernel still holds."""
        with suppress(OSError):
            self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self.close()


class SecureWire(Wire, ssl.SSLSocket):
    """The same under TLS."""
