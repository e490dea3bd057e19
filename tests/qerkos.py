"""Qerkos that behave as no Qerko should: real servers on loopback, each of which talks as a test tells it to."""

from __future__ import annotations

import fcntl
import ipaddress
import json
import socket
import ssl
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.utils import timezone


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a caller said."""

    line: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def is_whole(self) -> bool:
        """Whether the caller lived to say all of it."""
        return len(self.body) == int(dict(self.headers)["Content-Length"])

    def header(self, name: str) -> str:
        """The one value of a header that stands there once."""
        (value,) = (value for key, value in self.headers if key.lower() == name)
        return value


class Caller:
    """One connection, as Qerko has it."""

    def __init__(self, line: socket.socket, requests: list[Request]) -> None:
        self._line = line
        self._said = line.makefile("rb")
        self._requests = requests

    def listen(self) -> Request | None:
        """The next request; ``None`` where the caller hung up."""
        line = self._read_line()
        if not line:
            return None
        headers = tuple(self._read_headers())
        length = int(dict(headers)["Content-Length"])
        request = Request(line=line, headers=headers, body=self._said.read(length))
        self._requests.append(request)
        return request

    def say(self, data: bytes) -> None:
        self._line.sendall(data)

    def drip(self, data: bytes, *, every: float = 0.02) -> None:
        """Say it a byte at a time."""
        for at in range(len(data)):
            self.say(data[at : at + 1])
            time.sleep(every)

    def wait(self) -> None:
        """Say nothing more, and hear the caller hang up."""
        self._line.recv(1)

    def reset(self) -> None:
        """Hang up without a word."""
        self._line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def unread(self) -> int:
        """How many bytes have arrived and were not read."""
        (count,) = struct.unpack("i", fcntl.ioctl(self._line, termios.FIONREAD, bytes(4)))
        return int(count)

    def read_all(self) -> int:
        """Read until the caller hangs up, and say how many bytes that were."""
        parts: list[bytes] = []
        with suppress(ConnectionResetError):
            parts.extend(iter(partial(self._line.recv, 65536), b""))
        return sum(map(len, parts))

    def close(self) -> None:
        self._said.close()
        self._line.close()

    def _read_line(self) -> str:
        return self._said.readline().decode("latin-1").strip()

    def _read_headers(self) -> Iterator[tuple[str, str]]:
        while line := self._read_line():
            name, _, value = line.partition(":")
            yield name, value.strip()


Talk: TypeAlias = Callable[[Caller], Any]


class StrangeQerko:
    """A server whose every connection is a talk, in a thread of its own."""

    def __init__(self, talk: Talk, *, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.hung_up = 0
        self._talk = talk
        self._tls = tls
        self._lines: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._begin(self._welcome)

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self._listener.getsockname()[1]}/api/v4/pos"

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for line in self._lines:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        self._listener.close()

    def _begin(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _welcome(self) -> None:
        with suppress(OSError):
            while True:
                line, _ = self._listener.accept()
                self.connections += 1
                self._begin(partial(self._converse, line))

    def _converse(self, line: socket.socket) -> None:
        with suppress(OSError), line:
            spoken = self._tls.wrap_socket(line, server_side=True) if self._tls else line
            self._lines.append(spoken)
            caller = Caller(spoken, self.requests)
            try:
                self._talk(caller)
            finally:
                caller.close()
                self.hung_up += 1


@contextmanager
def full_house() -> Iterator[str]:
    """The address of a server that answers no call: as many wait already as may."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(8)]
        for line in waiting:
            line.setblocking(False)
            line.connect_ex(listener.getsockname())
        time.sleep(0.05)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for line in waiting:
            line.close()


def response(status: int = 200, body: bytes = b"null", **headers: object) -> bytes:
    """A response as it should be; headers are named with underscores."""
    lines = {"Content_Type": "application/json", "Content_Length": len(body)} | headers
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} Said\r\n{head}\r\n".encode() + body


def saying(*said: bytes) -> Talk:
    """Answers each request of a connection with the same."""

    def talk(caller: Caller) -> None:
        while caller.listen():
            for part in said:
                caller.say(part)

    return talk


def once(*steps: Talk) -> Talk:
    """Hears one request, takes these steps, and hangs up."""

    def talk(caller: Caller) -> None:
        caller.listen()
        for step in steps:
            step(caller)

    return talk


def say(data: bytes) -> Talk:
    return lambda caller: caller.say(data)


def drip(data: bytes, *, every: float = 0.02) -> Talk:
    return lambda caller: caller.drip(data, every=every)


def certificate(folder: Path, host: str) -> Path:
    """A certificate that nobody signed but itself, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Qerko")])
    public = key.public_key()
    usage = dict.fromkeys(
        (
            "content_commitment",
            "crl_sign",
            "data_encipherment",
            "decipher_only",
            "digital_signature",
            "encipher_only",
            "key_agreement",
            "key_cert_sign",
            "key_encipherment",
        ),
        False,
    ) | {"digital_signature": True, "key_cert_sign": True}
    signed = (
        x509.CertificateBuilder(name, name, public, x509.random_serial_number())
        .not_valid_before(timezone.now() - timedelta(days=1))
        .not_valid_after(timezone.now() + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{host}.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return file


def tls(file: Path) -> ssl.SSLContext:
    """A server's side of TLS with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def knowing(payments: Mapping[str, Any], *, cancelling: Callable[[str], int] = lambda _: 200) -> Talk:
    """Knows these payments by their ids: their JSON, or the status that is said instead. Takes every reply.

    ``cancelling`` says with which status a wish to cancel is answered, and may change what is known.
    """

    def talk(caller: Caller) -> None:
        while request := caller.listen():
            payment_id = json.loads(request.body).get("paymentId")
            if "/cancel-payment " in request.line:
                caller.say(response(cancelling(payment_id)))
            elif "/get-payment " in request.line:
                caller.say(_about(payments.get(payment_id, 404)))
            else:
                caller.say(response())

    return talk


def _about(known: Any) -> bytes:
    return response(known) if isinstance(known, int) else response(body=json.dumps(known).encode())
