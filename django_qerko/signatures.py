"""Sign a body, and verify a signature and its time window. Pure.

Qerko signs each webhook twice, as RFC 9421 and as a plain HMAC-SHA-256 of the body (protocol section 2, D). What the
two have in common here: keys come in as functions that make a MAC, so that no key is ever a local variable; every
scheme that is present must verify; and whatever a stranger writes into a header ends as `Forged`.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from binascii import hexlify
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from hmac import compare_digest
from typing import Final, TypeAlias, cast
from urllib.parse import parse_qsl

import http_sf
from http_sf.types import BareItemType, StructuredType

from django_qerko.exceptions import Forged, OutOfWindow

#: HMAC-SHA-256 of a message under one key: `ApiKey.mac`.
Mac: TypeAlias = Callable[[bytes], bytes]
#: Parameters of a component or of a signature, in their order (RFC 9421 sections 2 and 2.3).
Parameters: TypeAlias = Mapping[str, BareItemType]
#: A covered component: its name, or its name and parameters: `("@query-param", {"name": "x"})`.
Component: TypeAlias = str | tuple[str, Parameters]
_Dictionary: TypeAlias = dict[str, tuple[BareItemType | list[tuple[BareItemType, Parameters]], Parameters]]

RFC9421: Final = "rfc9421"
HMAC_SHA256: Final = "hmac-sha256"
SCHEMES: Final = (RFC9421, HMAC_SHA256)

#: What the sandbox covers; Qerko's own choice is not public (protocol section 7).
COMPONENTS: Final = ("@method", "@target-uri", "content-digest", "content-type")

MAX_LABELS: Final = 4  # protocol section 2, A
MAX_COMPONENTS: Final = 64
MAX_SIGNATURE_INPUT: Final = 8_192
# All that is parsed for one request: the parser takes about a third of a microsecond for a character, and it works
# before anybody has proved anything.
MAX_PARSED: Final = 32_768

_MAC_LENGTH: Final = 32
_LATEST: Final = 253_402_300_799  # 9999-12-31T23:59:59Z; Unix milliseconds lie beyond it
_DIGESTS: Final = {"sha-256": hashlib.sha256, "sha-512": hashlib.sha512}  # RFC 9530; the others there are insecure
_ENCODINGS: Final[Mapping[str, Callable[[bytes], bytes]]] = {"hex": hexlify, "base64": b64encode}
_ENCODING_BY_LENGTH: Final[Mapping[int, Callable[[bytes], bytes]]] = {64: hexlify, 44: b64encode}
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}

_TARGET: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]+)([^?#]*)(\?[^#]*)?")
_VALUE: Final = re.compile(r"[\t -~]*")  # RFC 9421 section 2.5: no line break, nothing but ASCII
_BARE_COMMA: Final = re.compile(r",(?=[^ \t])")
_UNIX: Final = re.compile(r"[0-9]{1,12}")
_FORM_SAFE: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789*-._")

# Of several failures the one that came nearest to being accepted is told.
_NEARNESS: Final = ("signature_malformed", "signature_mismatch", "body_not_bound", "digest_mismatch")
_WINDOW_NEARNESS: Final = ("window_missing", "created_in_future", "expired")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRequest:
    """What was signed.

    ``target_uri`` is absolute, as the caller called it; ``headers`` are as received: names in any case, a repeated
    field as repeated pairs, values decoded as Latin-1.
    """

    method: str
    target_uri: str
    headers: Sequence[tuple[str, str]] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """When a signed delivery is valid, in Unix seconds; ``None`` is a time that is missing or unreadable."""

    created: float | None
    expires: float | None

    def judge(self, *, now: float, skew: float) -> None:
        """Be content, or raise OutOfWindow.

        ``skew`` seconds are tolerated for ``created``, none for ``expires`` (protocol section 2, A).
        """
        if self.created is None or self.expires is None:
            missing = "created" if self.created is None else "expires"
            raise OutOfWindow("window_missing", f"`{missing}` is missing, or is no time.")
        if now > self.expires:
            raise OutOfWindow("expired", f"It expired {now - self.expires:.3f} s ago.")
        if self.created > now + skew:
            raise OutOfWindow("created_in_future", f"It was created {self.created - now:.3f} s in the future.")
        if self.created > self.expires:
            raise OutOfWindow("window_missing", "It expires before it was created.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """What verified.

    ``key`` is the index of the key: of the first accepted RFC 9421 label, because its times count, else of the HMAC.
    The two schemes may verify under different keys of the restaurant: while keys rotate, both are Qerko's.
    ``windows`` are those of the accepted labels, in their order; empty where only the HMAC was there.
    """

    key: int
    schemes: frozenset[str]
    windows: tuple[Window, ...]


# -- Verifying ------------------------------------------------------------------------------------


def verify(request: SignedRequest, macs: Sequence[Mac], *, schemes: Sequence[str] = SCHEMES) -> Seal:
    """Verify every scheme that is present under the keys of one restaurant (protocol section 2).

    ``schemes`` that name a single scheme require it; the other one, where present, must verify all the same.
    Time is not judged here: see `judge_windows`. Raises Forged, and nothing else, whatever the request holds.
    """
    if not macs:
        raise Forged("no_key", "This restaurant has no key that can be read.")
    message = _Message(request)
    present = _present(message, frozenset(schemes))
    try:
        key = _hmac_key(message, macs) if HMAC_SHA256 in present else 0
        labels = _accepted_labels(message, macs, bound=HMAC_SHA256 in present) if RFC9421 in present else []
    except ValueError as error:
        raise _malformed(error) from error
    return Seal(
        key=labels[0][0] if labels else key,
        schemes=present,
        windows=tuple(window for _, window in labels),
    )


def verify_label(request: SignedRequest, label: str, macs: Sequence[Mac]) -> int:
    """The index of the first key under which one RFC 9421 label verifies, body, policy and time apart.

    Raises Forged.
    """
    message = _Message(request)
    try:
        _label_names(message)
        return _label_key(message, label, _read_label(message, label), macs)
    except ValueError as error:
        raise _malformed(error) from error


def label_names(request: SignedRequest) -> list[str]:
    """The labels of Signature-Input, also those beyond `MAX_LABELS`, at which nobody looks. Raises Forged."""
    message = _Message(request)
    try:
        _label_names(message)
        return list(message.dictionary("signature-input"))
    except ValueError as error:
        raise _malformed(error) from error


def read_label(request: SignedRequest, name: str) -> Label:
    """One RFC 9421 label as it was sent; nothing of it is verified. Raises Forged."""
    try:
        return _read_label(_Message(request), name)
    except ValueError as error:
        raise _malformed(error) from error


def _present(message: _Message, schemes: frozenset[str]) -> frozenset[str]:
    present = set()
    if "signature" in message.lines or "signature-input" in message.lines:
        present.add(RFC9421)
    if "signature-sha256" in message.lines:
        present.add(HMAC_SHA256)
    if not present:
        raise Forged("signature_missing", "There is no Signature, no Signature-Input and no Signature-SHA256.")
    if len(schemes) == 1 and not schemes <= present:
        raise Forged("scheme_missing", f"{', '.join(schemes)} is required, and {', '.join(sorted(present))} is there.")
    return frozenset(present)


def _malformed(error: ValueError) -> Forged:
    return Forged("signature_malformed", f"{error!s:.200}")


def _first_key(macs: Sequence[Mac], signed: bytes, sent: bytes, encode: Callable[[bytes], bytes] = bytes) -> int | None:
    return next((index for index, mac in enumerate(macs) if compare_digest(encode(mac(signed)), sent)), None)


def _hmac_key(message: _Message, macs: Sequence[Mac]) -> int:
    """Compared as text, so that each signature has exactly one spelling in hex and one in base64."""
    sent = message.field("signature-sha256").encode("ascii", "replace")
    encode = _ENCODING_BY_LENGTH.get(len(sent))
    if encode is None:
        raise ValueError(f"Signature-SHA256 has {len(sent)} characters; hex has 64, base64 has 44.")
    key = _first_key(macs, message.request.body, sent, encode)
    if key is None:
        raise Forged("signature_mismatch", "Signature-SHA256 does not fit the body under any key of this restaurant.")
    return key


# -- RFC 9421 -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Label:
    """What one label of Signature-Input and Signature says."""

    components: Sequence[tuple[str, Parameters]]
    parameters: Parameters
    signature: bytes = field(repr=False)

    @property
    def window(self) -> Window:
        """A time of another type than a structured field's Integer is none (RFC 9421 section 2.3)."""
        return Window(created=self._time("created"), expires=self._time("expires"))

    def _time(self, name: str) -> float | None:
        value = self.parameters.get(name)
        return _seconds(value) if type(value) is int else None


def _accepted_labels(message: _Message, macs: Sequence[Mac], *, bound: bool) -> list[tuple[int, Window]]:
    """Key and window of each label that verifies and meets the policy; the others may be somebody else's."""
    accepted: list[tuple[int, Window]] = []
    failures: list[Forged] = []
    for name in _label_names(message):
        try:
            label = _read_label(message, name)
            key = _label_key(message, name, label, macs)
            if not _binds_body(message, name, label) and not bound:
                raise Forged("body_not_bound", f"Label {name!r:.40} covers no Content-Digest with sha-256 or sha-512.")
            accepted.append((key, label.window))
        except Forged as failure:
            failures.append(failure)
        except ValueError as error:
            failures.append(_malformed(error))
    if not accepted:
        nearest = max(failures, key=lambda failure: _NEARNESS.index(failure.reason))
        raise Forged(nearest.reason, " ".join(failure.finding for failure in failures))
    return accepted


def _label_names(message: _Message) -> list[str]:
    """The labels that are looked at: the first few of Signature-Input, so that nobody buys work with more."""
    for name in ("signature", "signature-input"):
        if name not in message.lines:
            raise ValueError(f"Half a signature: there is no {name.title()}.")
    length = len(message.field("signature-input"))
    if length > MAX_SIGNATURE_INPUT:
        raise ValueError(f"Signature-Input has {length} characters; at most {MAX_SIGNATURE_INPUT} are read.")
    names = list(message.dictionary("signature-input"))
    if not names:
        raise ValueError("Signature-Input names no label.")
    return names[:MAX_LABELS]


def _read_label(message: _Message, name: str) -> Label:
    """RFC 9421 sections 4.1 and 4.2. Types are compared exactly: a Token equals a string of the same letters."""
    inputs, signatures = message.dictionary("signature-input"), message.dictionary("signature")
    if name not in inputs or name not in signatures:
        raise ValueError(f"Label {name!r:.40} stands in one of Signature-Input and Signature only.")
    covered, parameters = inputs[name]
    signature = signatures[name][0]
    if not isinstance(covered, list) or not all(isinstance(component, str) for component, _ in covered):
        raise ValueError(f"Label {name!r:.40} covers no list of strings.")
    if not isinstance(signature, bytes):
        raise ValueError(f"The signature of label {name!r:.40} is no byte sequence.")
    return Label(cast("list[tuple[str, Parameters]]", covered), parameters, signature)


def _label_key(message: _Message, name: str, label: Label, macs: Sequence[Mac]) -> int:
    """RFC 9421 sections 3.2 and 3.3.3; `alg` need not be there (protocol section 2, A)."""
    alg = label.parameters.get("alg", HMAC_SHA256)
    if not isinstance(alg, str) or alg != HMAC_SHA256:
        raise Forged("signature_mismatch", f"Label {name!r:.40} has the algorithm {alg!r:.40}.")
    if len(label.signature) != _MAC_LENGTH:
        raise Forged("signature_mismatch", f"Label {name!r:.40} has {len(label.signature)} bytes, an HMAC-SHA-256 32.")
    for base in _bases(message, label):
        key = _first_key(macs, base, label.signature)
        if key is not None:
            return key
    raise Forged("signature_mismatch", f"Label {name!r:.40} does not verify under any key of this restaurant.")


def _bases(message: _Message, label: Label) -> Iterator[bytes]:
    """The signature base and, where it is another, that of header lines which the server joined without a space.

    RFC 9421 section 2.1 joins several lines of one header by a comma and a space; servers of WSGI and ASGI join them by
    the comma alone before we see them.
    """
    yield _base(message, label.components, label.parameters)
    covered = {name for name, _ in label.components}
    request = message.request
    headers = [
        (name, _BARE_COMMA.sub(", ", value) if name.lower() in covered else value) for name, value in request.headers
    ]
    if headers != list(request.headers):
        yield _base(_Message(replace(request, headers=headers)), label.components, label.parameters)


def _binds_body(message: _Message, name: str, label: Label) -> bool:
    """Whether a label covers a digest of the body (RFC 9530); raises Forged where it covers a wrong one.

    A signature covers the header only, so the digest is recomputed (RFC 9421 section 7.2.8). `;key` covers one
    algorithm, every other form covers them all. A Content-Digest that cannot be read binds nothing.
    """
    covered = [parameters for component, parameters in label.components if component == "content-digest"]
    if not covered:
        return False
    algorithms = set(_DIGESTS)
    if all("key" in parameters for parameters in covered):
        algorithms &= {cast("str", parameters["key"]) for parameters in covered}
    try:
        digests = message.dictionary("content-digest")
    except ValueError:
        return False
    judged = algorithms & digests.keys()
    for algorithm in judged:
        sent = digests[algorithm][0]
        if not isinstance(sent, bytes) or not compare_digest(_DIGESTS[algorithm](message.request.body).digest(), sent):
            raise Forged("digest_mismatch", f"Label {name!r:.40} covers a {algorithm} that is not the body's.")
    return bool(judged)


# -- The signature base (RFC 9421 sections 2 and 2.5) ---------------------------------------------


def signature_base(request: SignedRequest, components: Sequence[Component], parameters: Parameters) -> bytes:
    """What is signed (RFC 9421 section 2.5). Raises ValueError where a component has no value in this request."""
    return _base(_Message(request), _with_parameters(components), parameters)


def _with_parameters(components: Sequence[Component]) -> list[tuple[str, Parameters]]:
    return [(component, {}) if isinstance(component, str) else component for component in components]


def _base(message: _Message, components: Sequence[tuple[str, Parameters]], parameters: Parameters) -> bytes:
    """The last line is written anew from what was parsed, as RFC 9421 section 3.2 has it, step 7.

    Two spellings of one value (`01` and `1`, two spaces and one) verify alike then, as they may after a proxy; any
    other value, name or order does not.
    """
    if len(components) > MAX_COMPONENTS:
        raise ValueError(f"{len(components)} components are covered; at most {MAX_COMPONENTS} are read.")
    if len({(name, frozenset(given.items())) for name, given in components}) < len(components):
        raise ValueError("A component is covered twice.")
    lines = [f"{_serialised((name, given))}: {message.component(name, given)}" for name, given in components]
    lines.append(f'"@signature-params": {_serialised([(components, parameters)])}')
    return "\n".join(lines).encode("ascii")


class _Message:
    """A request as its signer saw it, component by component. What cannot be had is a ValueError."""

    def __init__(self, request: SignedRequest) -> None:
        self.request = request
        self.lines: dict[str, list[str]] = {}
        for name, value in request.headers:
            self.lines.setdefault(name.lower(), []).append(value)
        self._dictionaries: dict[str, _Dictionary] = {}
        self._unparsed = MAX_PARSED

    def values(self, name: str) -> list[str]:
        if name not in self.lines:
            raise ValueError(f"The header {name!r:.80} is not there.")
        return [_unfolded(line) for line in self.lines[name]]

    def field(self, name: str) -> str:
        """RFC 9421 section 2.1."""
        return ", ".join(self.values(name))

    def dictionary(self, name: str) -> _Dictionary:
        if name not in self._dictionaries:
            self._dictionaries[name] = cast("_Dictionary", self._parsed(name, "dictionary"))
        return self._dictionaries[name]

    def component(self, name: str, parameters: Parameters) -> str:
        read = self._derived if name.startswith("@") else self._field_component
        value = read(name, parameters)
        if not _VALUE.fullmatch(value):
            raise ValueError(f"The value of {name!r:.80} cannot be signed: it is not one line of ASCII.")
        return value

    def _parsed(self, name: str, kind: str) -> StructuredType:
        text = self.field(name)
        self._unparsed -= len(text)
        if self._unparsed < 0:
            raise ValueError(f"More than {MAX_PARSED} characters would have to be parsed.")
        try:
            return http_sf.parse(text.encode("ascii"), tltype=kind, on_duplicate_key=_refuse_duplicate)
        except Exception as error:  # a stranger's header: nothing of a library may escape
            raise ValueError(f"The header {name!r:.80} is no {kind}: {error!s:.80}.") from error

    def _field_component(self, name: str, parameters: Parameters) -> str:
        """RFC 9421 sections 2.1.1 to 2.1.3; `tr` and `req` have no place in a webhook's request."""
        if any(parameters.get(flag, True) is not True for flag in ("sf", "bs")):
            raise ValueError(f"A flag of {name!r:.80} is no flag.")
        match sorted(parameters):
            case []:
                return self.field(name)
            case ["sf"]:
                return self._strict(name)
            case ["bs"]:
                return _serialised([(value.encode("latin-1"), {}) for value in self.values(name)])
            case ["key"] | ["key", "sf"]:
                return self._member(name, parameters["key"])
        raise ValueError(f"{name!r:.80} has parameters that do not fit: {', '.join(parameters):.80}.")

    def _strict(self, name: str) -> str:
        """RFC 9421 section 2.1.1, with one licence: the type need not be known.

        What reads as a list and as a dictionary alike is written alike (no key stands twice), and an item is a list
        of one. So the type is found by trying, and no table of fields has to be kept.
        """
        try:
            return _serialised(self._parsed(name, "list"))
        except ValueError:
            return _serialised(self.dictionary(name))

    def _member(self, name: str, key: BareItemType) -> str:
        """RFC 9421 section 2.1.2."""
        members = self.dictionary(name)
        if not isinstance(key, str) or key not in members:
            raise ValueError(f"The header {name!r:.80} has no member {key!r:.40}.")
        return _serialised([members[key]])

    def _derived(self, name: str, parameters: Parameters) -> str:
        """RFC 9421 section 2.2."""
        if name == "@query-param":
            return self._query_parameter(parameters)
        if parameters or name not in self._target:
            raise ValueError(f"{name!r:.80} cannot be derived from a request, or not with parameters.")
        return self._target[name]

    def _query_parameter(self, parameters: Parameters) -> str:
        """RFC 9421 section 2.2.8: decoded as a form, encoded anew; one that occurs twice must not be covered."""
        name = parameters.get("name")
        values = self._query.get(name, []) if isinstance(name, str) else []
        if len(parameters) != 1 or len(values) != 1:
            raise ValueError(f"'@query-param' does not name one parameter of the query: {name!r:.80}.")
        return values[0]

    @cached_property
    def _target(self) -> Mapping[str, str]:
        """RFC 9421 sections 2.2.1 to 2.2.7; the request target in origin form, the only one a webhook is called in."""
        parts = _TARGET.match(self.request.target_uri)
        if parts is None:
            raise ValueError("The request's own address is not absolute.")
        authority, path, query = parts[2].rpartition("@")[2], parts[3] or "/", parts[4] or ""
        scheme = parts[1].lower()
        return {
            "@method": self.request.method,
            "@target-uri": f"{parts[1]}://{authority}{path}{query}",
            "@authority": authority.lower().removesuffix(_DEFAULT_PORTS.get(scheme, "")).removesuffix(":"),
            "@scheme": scheme,
            "@request-target": path + query,
            "@path": path,
            "@query": query or "?",
        }

    @cached_property
    def _query(self) -> Mapping[str, Sequence[str]]:
        found: dict[str, list[str]] = {}
        for name, value in parse_qsl(self._target["@query"][1:], keep_blank_values=True):
            found.setdefault(_form_encoded(name), []).append(_form_encoded(value))
        return found


def _unfolded(line: str) -> str:
    """RFC 9421 section 2.1, steps 2 and 3. A line break that folds nothing stays, and is refused later."""
    if "\n" in line:
        first, *folded = line.replace("\r\n", "\n").split("\n")
        if all(part.startswith((" ", "\t")) for part in folded):
            line = " ".join(part.strip(" \t") for part in (first, *folded))
    return line.strip(" \t")


def _form_encoded(text: str) -> str:
    return "".join(chr(byte) if byte in _FORM_SAFE else f"%{byte:02X}" for byte in text.encode())


def _refuse_duplicate(key: str, where: str) -> None:
    """Stricter than RFC 8941, where the last one wins: two readers could read two different requests."""
    raise ValueError(f"{key!r:.40} stands twice in one {where}")


def _serialised(structure: object) -> str:
    try:
        return http_sf.ser(cast("StructuredType", structure))
    except Exception as error:  # as above
        raise ValueError(f"It cannot be written as a structured field: {error!s:.80}.") from error


# -- Time -----------------------------------------------------------------------------------------


def judge_windows(windows: Sequence[Window], *, now: float, skew: float) -> Window:
    """The first window that is valid now. Raises OutOfWindow, for the window that came nearest to it."""
    failures: list[OutOfWindow] = []
    for window in windows:
        try:
            window.judge(now=now, skew=skew)
        except OutOfWindow as failure:
            failures.append(failure)
        else:
            return window
    if not failures:
        raise OutOfWindow("window_missing", "Nothing that verified says when it is valid.")
    raise max(failures, key=lambda failure: _WINDOW_NEARNESS.index(failure.reason))


def body_window(created: object, expires: object) -> Window:
    """The window that a JSON body names: ISO 8601 with an offset, or Unix seconds (protocol section 2, A).

    Whatever is missing or unreadable, a time without an offset included, is ``None``.
    """
    return Window(created=_moment(created), expires=_moment(expires))


def _moment(value: object) -> float | None:
    if not isinstance(value, str):
        return _seconds(value)
    if _UNIX.fullmatch(value):
        return _seconds(int(value))
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return None if moment.utcoffset() is None else _seconds(moment.timestamp())


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        seconds = float(value)
    except (OverflowError, ValueError):
        return None
    return seconds if 0 <= seconds <= _LATEST else None


# -- Signing --------------------------------------------------------------------------------------


def sign_rfc9421(
    request: SignedRequest,
    mac: Mac,
    *,
    components: Sequence[Component] = COMPONENTS,
    created: int | None,
    expires: int | None,
    label: str = "qerko",
    parameters: Parameters | None = None,
) -> dict[str, str]:
    """The headers Signature-Input and Signature of a request (RFC 9421 section 3.1).

    A time that is ``None`` is left out, and ``parameters`` may replace it by something that is no time: the sandbox
    sends broken signatures too. Raises ValueError where a component has no value, Content-Digest included.
    """
    times = {name: time for name, time in (("created", created), ("expires", expires)) if time is not None}
    given = {**times, **(parameters or {})}
    covered = _with_parameters(components)
    signature = mac(_base(_Message(request), covered, given))
    return {
        "Signature-Input": _serialised({label: (covered, given)}),
        "Signature": _serialised({label: signature}),
    }


def content_digest(body: bytes, algorithm: str = "sha-256") -> str:
    """The value of Content-Digest (RFC 9530), by ``sha-256`` or ``sha-512``; any other is a KeyError."""
    return _serialised({algorithm: _DIGESTS[algorithm](body).digest()})


def sign_hmac(body: bytes, mac: Mac, *, encoding: str = "hex") -> str:
    """The value of Signature-SHA256 (protocol section 2, D), in ``hex`` or ``base64``; any other is a KeyError."""
    return _ENCODINGS[encoding](mac(body)).decode("ascii")
