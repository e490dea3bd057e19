"""How a signature that does not verify is explained: the pure part, with tables and with garbage."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_qerko import signatures
from django_qerko.receiving.explaining.bodies import MAX_COMPOSED, MAX_INDENTED
from django_qerko.receiving.explaining.case import Case
from django_qerko.receiving.explaining.causes import CURES, MAX_TOLD, Cause
from django_qerko.receiving.explaining.effort import AT_THE_DOOR, Effort, Exhausted
from django_qerko.receiving.explaining.whole import explain
from django_qerko.receiving.explaining.window import explain_window
from django_qerko.receiving.saved import read_saved
from django_qerko.signatures import HMAC_SHA256, RFC9421, SignedRequest, Window, content_digest, sign_hmac, sign_rfc9421
from tests.deliveries import KEY, OTHER_KEY
from tests.servers import ROOT

URL = "https://pos.example/a/b/c/d/"
BODY = b'{"id":"e-1","event":"getBill","data":{"amount":1.50,"big":12345678901234567890123},"path":"a/b<c>"}'


def signed(
    body: bytes = BODY,
    *,
    url: str = URL,
    headers: Sequence[tuple[str, str]] = (),
    components: Sequence[signatures.Component] = ("@path", "content-digest"),
    schemes: Sequence[str] = (RFC9421,),
    **how: Any,
) -> list[tuple[str, str]]:
    """The headers of a request that is right."""
    known = [*headers, ("Content-Digest", content_digest(body))]
    request = SignedRequest(method="POST", target_uri=url, headers=known, body=body)
    if RFC9421 in schemes:
        known += sign_rfc9421(request, KEY.mac, components=components, created=1, expires=2, **how).items()
    if HMAC_SHA256 in schemes:
        known.append(("Signature-SHA256", sign_hmac(body, KEY.mac)))
    return known


def found(
    headers: Sequence[tuple[str, str]], body: bytes = BODY, *, url: str = URL, effort: int = AT_THE_DOOR, **how: Any
) -> list[Cause]:
    request = SignedRequest(method="POST", target_uri=url, headers=headers, body=body)
    return explain(Case(request=request, own=[KEY.mac], effort=Effort(effort), **how))


def names(*arguments: Any, **how: Any) -> list[str]:
    return [cause.name for cause in found(*arguments, **how)]


def replaced(headers: Sequence[tuple[str, str]], name: str, value: str) -> list[tuple[str, str]]:
    return [(known, value if known == name else kept) for known, kept in headers]


@pytest.mark.parametrize("schemes", [(RFC9421,), (HMAC_SHA256,), (RFC9421, HMAC_SHA256)])
def test_what_verifies_has_no_cause(schemes: Sequence[str]) -> None:
    assert found(signed(schemes=schemes)) == []


def spelt(**how: Any) -> bytes:
    return json.dumps(json.loads(BODY), **how).encode()


ORIGINALS: dict[str, tuple[bytes, bytes]] = {
    "numbers as they were": (BODY, BODY.replace(b":", b": ").replace(b",", b", ")),
    "slashes as PHP has them": (BODY.replace(b"/", b"\\/"), BODY),
    "signs as Go has them": (BODY.replace(b"<", b"\\u003c").replace(b">", b"\\u003e"), BODY),
    "capitals as .NET has them": (b'{"a":"\\u00E1"}', '{"a":"á"}'.encode()),
    "slashes and letters": ('{"a":"á\\/"}'.encode(), b'{"a":"\\u00e1/"}'),
    "sorted": (spelt(separators=(",", ":"), sort_keys=True), spelt(indent=2)),
    "shuffled": (b'{"b":1,"c":{"z":1,"a":2},"a":2}', b'{"a":2,"b":1,"c":{"z":1,"a":2}}'),
    "a list": (b"[1,2]", b"[1, 2]"),
}


@pytest.mark.parametrize(("original", "arrived"), ORIGINALS.values(), ids=ORIGINALS)
@pytest.mark.parametrize("scheme", [RFC9421, HMAC_SHA256])
def test_json_that_was_written_anew_is_known_again(original: bytes, arrived: bytes, scheme: str) -> None:
    assert original != arrived
    assert names(signed(original, schemes=[scheme]), arrived) == ["body_reencoded"]


@pytest.mark.parametrize(
    ("original", "arrived", "cause"),
    [
        (b"a\r\nb", b"a\nb", "body_line_ends"),
        (b"a\nb", b"a\r\nb", "body_line_ends"),
        (b"a", b"a \r\n\r\n", "body_newline"),
        (b"\xef\xbb\xbfa", b"a", "body_charset"),
        ("á".encode(), "á".encode("iso-8859-2"), "body_charset"),
        ("á".encode("windows-1250"), "á".encode(), "body_charset"),
        (b"ab", b"1\r\na\r\n1;x=y\r\nb\r\n0\r\n\r\n", "body_framed"),
        (b"ab", b"1\r\na\r\n1\r\nb", "body_changed"),
        (b"ab", b"1\r\na\r\n0\r\n\r\n", "body_changed"),
        (b"{", b"{{", "body_changed"),
    ],
)
def test_other_changes_of_a_body_are_known_again(original: bytes, arrived: bytes, cause: str) -> None:
    assert names(signed(original), arrived) == [cause]


def test_what_is_slow_to_try_is_not_tried_on_what_is_long() -> None:
    long = json.dumps({"a": ["á" * 10] * (MAX_INDENTED // 20)}, ensure_ascii=False).encode()
    assert len(long) > max(MAX_INDENTED, MAX_COMPOSED)
    deep = b"[" * 100 + b"]" * 100

    assert names(signed(json.dumps(json.loads(long), indent=2).encode()), long) == ["body_changed"]
    assert names(signed(json.dumps(json.loads(deep), indent=2).encode()), deep) == ["body_changed"]


FIELDS: dict[str, tuple[list[str], list[tuple[str, str]], list[str], str]] = {
    "type changed": (
        ["content-type"],
        [("Content-Type", "application/json;charset=UTF-8")],
        ["header_changed"],
        "UTF-8",
    ),
    "type dropped": (["content-type"], [], ["header_dropped"], "application/json"),
    "length dropped": (["content-length"], [], ["header_dropped"], str(len(BODY))),
    "unknown dropped": (["x-request-id"], [], ["header_dropped"], "x-request-id"),
}


@pytest.mark.parametrize(("covered", "sent", "cause", "told"), FIELDS.values(), ids=FIELDS)
def test_a_header_that_is_covered_and_not_as_it_was_is_named(
    covered: list[str], sent: list[tuple[str, str]], cause: list[str], told: str
) -> None:
    was = {"content-type": "application/json;charset=UTF-8", "content-length": str(len(BODY)), "x-request-id": "7"}
    headers = signed(headers=[(name, was[name]) for name in covered], components=[*covered, "content-digest"])
    came = [(name, value) for name, value in headers if name not in covered]
    came += [(name, "application/json") for name, _ in sent]

    (only,) = found(came)

    assert [only.name] == cause
    assert told in only.told


def test_a_length_that_was_rewritten_with_the_body_is_found() -> None:
    headers = signed(headers=[("content-length", str(len(BODY)))], components=["content-length"], schemes=[RFC9421])
    came = replaced(headers, "content-length", str(len(BODY) + 1))

    assert names(came, BODY + b"\n") == ["body_newline", "body_not_bound"]


def test_a_type_that_nobody_would_write_is_not_guessed() -> None:
    headers = signed(headers=[("content-type", "text/x-json")], components=["content-type", "content-digest"])

    assert names(replaced(headers, "content-type", "application/json")) == ["unexplained"]


SEALS: dict[str, tuple[str, str, list[str]]] = {
    "unreadable": ("Signature-Input", "(((", ["signature_unreadable"]),
    "times broken": ("Signature-Input", 'qerko=("@path" "content-digest");crea ted=1;expires=2', ["header_folded"]),
    "no list": ("Signature-Input", "qerko=7", ["signature_unreadable"]),
    "no bytes": ("Signature", "qerko=7", ["signature_unreadable"]),
    "short": ("Signature", "qerko=:AAAA:", ["algorithm"]),
    "no label": ("Signature-Input", "", ["signature_unreadable"]),
    "another label": ("Signature", "other=:AAAA:", ["label_mismatch"]),
    "twice": ("Signature-Input", 'qerko=("@path" "@path")', ["signature_unreadable"]),
}


@pytest.mark.parametrize(("name", "value", "causes"), SEALS.values(), ids=SEALS)
def test_a_seal_that_is_broken_is_named(name: str, value: str, causes: list[str]) -> None:
    assert names(replaced(signed(), name, value)) == causes


def test_a_key_of_another_restaurant_is_told_by_its_row() -> None:
    request = SignedRequest(
        method="POST", target_uri=URL, headers=[("Signature-SHA256", sign_hmac(BODY, OTHER_KEY.mac))], body=BODY
    )

    assert explain(Case(request=request, own=[KEY.mac], others=[(7, OTHER_KEY.mac)], effort=Effort(AT_THE_DOOR))) == [
        Cause(name="other_key", told="It was signed with the key of another restaurant.", key=7)
    ]


@pytest.mark.parametrize(
    ("url", "origins", "causes"),
    [
        ("https://pos.example/a/b/c/d/e/", (), ["unexplained"]),
        ("https://pos.example/x/a/b/c/d/", (), ["address_changed"]),
        ("https://pos.example/x/y/z/a/b/c/d/", (), ["address_changed"]),
        ("https://pos.example/", ("https://pos.example/a/b/c/d/",), ["address_changed"]),
        ("https://pos.example/", ("http://[::1",), ["unexplained"]),
        ("http://[::1", (), ["unexplained"]),
    ],
)
def test_a_path_is_looked_for_where_it_may_have_been(url: str, origins: tuple[str, ...], causes: list[str]) -> None:
    assert names(signed(), url=url, origins=origins) == causes


@pytest.mark.parametrize("effort", [0, 1, 10_000, 100_000])
def test_a_search_ends_with_its_effort(effort: int) -> None:
    headers = replaced(signed(schemes=[RFC9421, HMAC_SHA256]), "Signature-SHA256", "0" * 64)

    assert names(replaced(headers, "Signature", f"qerko=:{'A' * 43}=:"), effort=effort) == ["unexplained"]


def test_effort_is_counted() -> None:
    effort = Effort(10)
    effort.spend(6)
    half = effort.half()

    with pytest.raises(Exhausted):
        half.spend(3)
    half.spend(2)
    with pytest.raises(Exhausted):
        half.spend(1)


#: What a stranger can do so that one try, or one that is not counted, takes long.
HOSTILE: dict[str, tuple[bytes, list[tuple[str, str]]]] = {
    "chunks": (b"1\r\nx\r\n" * 43_000, []),
    "accents": (('{"a":"' + "\u0301\u0316" * 60_000 + '"}').encode(), []),
    "few accents": (('{"a":"' + "\u0301\u0316" * 1_000 + '"}').encode(), []),
    "depth": (b"[" * 495 + b"1" + b"]" * 495, []),
    "too deep": (b"[" * 200_000, []),
    "numbers": (b"[" + b"1.5," * 60_000 + b"1]", []),
    "many missing": (
        b"{}",
        [
            (
                "Signature-Input",
                f'a=({" ".join(f"""{chr(34)}content-type{chr(34)};key="k{n}{chr(34)}""" for n in range(40))})',
            )
        ],
    ),
    "many labels": (b"{}", [("Signature-Input", ", ".join(f'l{n}=("@target-uri")' for n in range(100)))]),
    "long headers": (
        b"{}",
        [("Signature-Input", 'l0=("x-big";sf "@target-uri")'), *[("X-Big", "a," * 4_000)] * 4],
    ),
    "hints": (b"{}", [("X-Forwarded-Host", "a," * 4_000), ("Forwarded", "host=a;" * 1_000), ("X-Original-Uri", "//[")]),
}


@pytest.mark.parametrize(("body", "headers"), HOSTILE.values(), ids=HOSTILE)
def test_a_stranger_buys_little_work(body: bytes, headers: list[tuple[str, str]]) -> None:
    seal = ", ".join(f"l{number}=:{'A' * 43}=:" for number in range(8))
    headers = [("Signature", seal), ("Signature-SHA256", "0" * 64), *headers]
    started = time.thread_time()

    found(headers, body, others=[(number, OTHER_KEY.mac) for number in range(500)])

    assert time.thread_time() - started < 1  # it is a few hundredths; coverage and a slow machine have their share


TEXT = st.one_of(st.text(max_size=80), st.sampled_from(['a=("@path");created=1', "a=:AAAA:", "0" * 64, "sha-256=:AA:"]))
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            ["Signature", "Signature-Input", "Signature-SHA256", "Content-Digest", "Host", "Forwarded", "X"]
        ),
        TEXT,
    ),
    max_size=6,
)


@given(
    headers=HEADERS,
    body=st.binary(max_size=60) | st.from_regex(rb'\{"a":.{0,20}\}'),
    url=st.text(max_size=30) | st.just(URL),
)
def test_garbage_raises_nothing_and_names_no_key(headers: list[tuple[str, str]], body: bytes, url: str) -> None:
    causes = found(headers, body, url=url, others=[(7, OTHER_KEY.mac)], effort=500_000)

    assert causes
    for cause in causes:
        assert cause.key is None
        assert cause.cure
        kept = cause.as_json()
        assert len(kept["told"]) <= 12 * MAX_TOLD
        assert kept["told"].isprintable()
        assert Cause.from_json(json.loads(json.dumps(kept))).name == cause.name


@given(
    content=st.binary(max_size=200)
    | st.builds(b"POST / HTTP/1.1\n%b\n\n%b".__mod__, st.tuples(st.binary(), st.binary()))
)
def test_a_file_of_garbage_is_refused_or_read(content: bytes) -> None:
    try:
        saved = read_saved(content)
    except ValueError:
        return
    assert saved.method.isupper()


@pytest.mark.parametrize(
    ("created", "expires", "received", "cause", "told"),
    [
        (0, 60, 30, [], ""),
        (None, None, 30, ["window_missing"], "created and expires"),
        (0, None, 30, ["window_missing"], "readable expires"),
        (34, 33, 30, ["window_missing"], "before it was created"),
        (100, 160, 30, ["clock_behind"], "68.0 s after it arrived"),
        (0, 20, 30, ["expired"], "expired 12.0 s before it was judged, 32.0 s after it was created"),
        (0, 31, 30, ["expired_while_read"], "2.0 s later its body was there, and it had expired 1.0 s before"),
    ],
)
def test_a_window_is_explained_in_numbers(
    created: float | None, expires: float | None, received: float, cause: list[str], told: str
) -> None:
    causes = explain_window(Window(created=created, expires=expires), judged=32, received=received, skew=5)

    assert [one.name for one in causes] == cause
    assert all(told in one.told for one in causes)
    assert set(cause) <= set(CURES)


def test_every_cause_is_described_and_has_its_cure() -> None:
    page = (ROOT / "docs" / "diagnosing.md").read_text().split("\n## The causes\n")[1].split("\n## ")[0]
    source = "".join(file.read_text() for file in sorted((ROOT / "django_qerko/receiving").rglob("*.py")))
    given = re.findall(r'(?:Cause\(\s*name=|Change\()"(\w+)"', source)

    assert sorted(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == sorted(CURES)
    assert set(given) <= set(CURES)
