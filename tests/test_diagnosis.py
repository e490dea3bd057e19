"""Why a delivery was turned away is found while it is there: each cause comes about over real HTTP."""

from __future__ import annotations

import json
import logging
import re
import socket
import time
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import Error
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from django_qerko import signatures
from django_qerko.keys import ApiKey
from django_qerko.models import Rejection, Restaurant, RestaurantKey
from django_qerko.receiving import diagnosis, rejections
from django_qerko.signatures import HMAC_SHA256, RFC9421
from tests.deliveries import KEY, OTHER_KEY, Signed, address, document, sign
from tests.proxies import Meddling, Passing, honest, proxy, send_to

pytestmark = pytest.mark.django_db(transaction=True)

BOTH = (RFC9421, HMAC_SHA256)
#: A body with whatever something on the way may write otherwise.
BODY = json.dumps(
    {"id": "e-1", "event": "getBill", "data": {"billId": "42/ž", "customerId": None, "share": 1.50}, "note": "<&>"},
    ensure_ascii=False,
).encode()


def changed(change: Callable[[bytes], bytes]) -> Meddling:
    """Changes the body."""

    def meddle(passing: Passing) -> None:
        passing.body = change(passing.body)

    return meddle


def written_anew(**how: Any) -> Meddling:
    return changed(lambda body: json.dumps(json.loads(body), **how).encode("utf-8", "surrogatepass"))


def recoded(source: str, target: str) -> Meddling:
    return changed(lambda body: body.decode(source).encode(target))


def without(*names: str) -> Meddling:
    return lambda passing: passing.take_away(*names)


def folded(name: str, at: int) -> Meddling:
    return lambda passing: passing.change(name, lambda value: f"{value[:at]}\r\n {value[at:]}")


def with_digest(passing: Passing) -> None:
    """Writes the JSON anew, and its digest with it."""
    passing.body = json.dumps(json.loads(passing.body), indent=2).encode()
    passing.set("Content-Digest", signatures.content_digest(passing.body))


def in_chunks(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


def relabelled(passing: Passing) -> None:
    passing.change("Signature", lambda value: value.replace("qerko=", "gateway=", 1))


def with_labels_first(passing: Passing) -> None:
    """Puts four signatures of its own before Qerko's."""
    for name, value in (("Signature-Input", '("@method")'), ("Signature", f":{'A' * 43}=:")):
        own = ", ".join(f"own{number}={value}" for number in range(4))
        passing.change(name, lambda theirs, own=own: f"{own}, {theirs}")  # type: ignore[misc]


def twice(passing: Passing) -> None:
    passing.headers += [header for header in passing.headers if header[0] == "Signature-SHA256"]


def find(counter: rejections.Counter) -> tuple[Rejection, dict[str, Any]]:
    """What was kept of the only delivery that was turned away."""
    counter.write()
    rejection = Rejection.objects.get()
    (sample,) = rejection.samples
    return rejection, sample


def named(sample: dict[str, Any]) -> list[str]:
    return [cause["cause"] for cause in sample["causes"]]


STRANGERS = ApiKey("a-key-that-nobody-here-has")
PLAIN, LABELS = (HMAC_SHA256,), (RFC9421,)
ON_THE_WAY: dict[str, tuple[Meddling, Sequence[str], str]] = {
    "spacing": (written_anew(ensure_ascii=False, separators=(",", ":")), BOTH, "body_reencoded"),
    "spacing, HMAC": (written_anew(ensure_ascii=False, separators=(",", ":")), PLAIN, "body_reencoded"),
    "spacing, RFC 9421": (written_anew(ensure_ascii=False, separators=(",", ":")), LABELS, "body_reencoded"),
    "indented": (written_anew(indent=4), BOTH, "body_reencoded"),
    "escapes": (written_anew(), BOTH, "body_reencoded"),
    "order": (written_anew(ensure_ascii=False, sort_keys=True), BOTH, "body_reencoded"),
    "digest, too": (with_digest, LABELS, "body_reencoded"),
    "accents": (changed(lambda body: unicodedata.normalize("NFD", body.decode()).encode()), BOTH, "body_normalised"),
    "line break added": (changed(lambda body: body + b"\n"), BOTH, "body_newline"),
    "line break taken off": (changed(lambda body: body.removesuffix(b"\r\n")), BOTH, "body_newline"),
    "charset": (recoded("utf-8", "windows-1250"), BOTH, "body_charset"),
    "mojibake": (recoded("latin-1", "utf-8"), BOTH, "body_charset"),
    "utf-16": (recoded("utf-8", "utf-16"), BOTH, "body_charset"),
    "byte order mark": (recoded("utf-8", "utf-8-sig"), BOTH, "body_charset"),
    "another body": (changed(lambda body: body.replace(b"42", b"43")), BOTH, "body_changed"),
    "lost": (changed(lambda _: b""), BOTH, "body_lost"),
    "lost, HMAC": (changed(lambda _: b""), PLAIN, "body_lost"),
    "framed": (changed(in_chunks), BOTH, "body_framed"),
    "no signature": (without("Signature", "Signature-Input", "Signature-SHA256"), BOTH, "signature_missing"),
    "no input": (without("Signature-Input"), BOTH, "half_signature"),
    "half": (without("Signature"), LABELS, "half_signature"),
    "no digest": (without("Content-Digest"), BOTH, "header_dropped"),
    "signature folded": (folded("Signature", 30), BOTH, "header_folded"),
    "input folded": (folded("Signature-Input", 10), LABELS, "header_folded"),
    "digest folded": (folded("Content-Digest", 20), LABELS, "header_folded"),
    "HMAC folded": (folded("Signature-SHA256", 20), PLAIN, "header_folded"),
    "HMAC twice": (twice, PLAIN, "signature_doubled"),
    "HMAC in capitals": (lambda passing: passing.change("Signature-SHA256", str.upper), BOTH, "signature_spelling"),
    "HMAC cut": (lambda passing: passing.change("Signature-SHA256", lambda it: it[:50]), PLAIN, "signature_unreadable"),
    "HMAC is another's": (lambda passing: passing.set("Signature-SHA256", "0" * 64), BOTH, "signature_changed"),
    "label": (relabelled, LABELS, "label_mismatch"),
    "labels first": (with_labels_first, LABELS, "too_many_labels"),
    "cut": (lambda passing: passing.change("Signature", lambda value: value[:20]), LABELS, "signature_unreadable"),
    "method": (
        lambda passing: passing.change("Signature-Input", lambda it: it.replace("@m", "@x")),
        BOTH,
        "signature_unreadable",
    ),
    "input": (lambda passing: passing.change("Signature-Input", lambda it: f"{it};x"), BOTH, "header_changed"),
}


@pytest.mark.parametrize(("meddle", "schemes", "cause"), ON_THE_WAY.values(), ids=ON_THE_WAY)
def test_what_was_done_on_the_way_is_named(
    transactional_restaurant: Restaurant,
    live_server: LiveServer,
    memory_of_its_own: rejections.Counter,
    meddle: Meddling,
    schemes: Sequence[str],
    cause: str,
) -> None:
    body = BODY + b"\r\n" if cause == "body_newline" else BODY
    with proxy(live_server.url, meddle) as origin:
        delivery = sign(body, url=address(transactional_restaurant, origin=origin), schemes=schemes)
        assert send_to(origin, delivery).status == 401

    _, sample = find(memory_of_its_own)
    assert named(sample) == [cause]
    assert "billId" not in json.dumps(sample)


def prefixed(passing: Passing) -> None:
    passing.set("X-Forwarded-Prefix", "/pub/")
    passing.path = passing.path.removeprefix("/pub")


def told_by_headers(passing: Passing) -> None:
    passing.set("Host", "10.0.0.7:8000")
    passing.set("X-Forwarded-Host", "hidden.example")
    passing.set("X-Forwarded-Port", "8443")


def forwarded(passing: Passing) -> None:
    passing.set("Host", "10.0.0.7:8000")
    passing.set("Forwarded", 'for=192.0.2.1;host="hidden.example";proto=https')


def rewritten(passing: Passing) -> None:
    passing.set("X-Original-URI", passing.path)
    passing.path = f"/qerko/webhook/{passing.path.rpartition('/')[2]}/"


def at_another_path(change: Callable[[str], str]) -> Meddling:
    def meddle(passing: Passing) -> None:
        passing.path = change(passing.path)

    return meddle


def as_host(name: str) -> Meddling:
    return lambda passing: passing.set("Host", name)


def sealed(url: str, components: list[str]) -> Signed:
    """Signed for a public address, its Host header, which may be covered, included."""
    headers = {"Host": urlsplit(url).netloc, "Content-Digest": signatures.content_digest(BODY)}
    request = signatures.SignedRequest(method="POST", target_uri=url, headers=list(headers.items()), body=BODY)
    now = int(time.time())
    seal = signatures.sign_rfc9421(request, KEY.mac, components=components, created=now, expires=now + 60)
    return Signed(url=url, body=BODY, headers=headers | seal)


PUBLIC = "https://pos.example/qerko/webhook/{token}/"
#: What was signed, what a proxy does to it, what is covered, and which value would have verified.
ADDRESSES: dict[str, tuple[str, Meddling, list[str], str]] = {
    "scheme": (PUBLIC, as_host("pos.example"), ["@scheme"], "https://pos.example/qerko/webhook/…/"),
    "host, one of ours": (PUBLIC, as_host("10.0.0.7"), ["@authority"], "//pos.example/qerko/webhook/…/"),
    "whole": (PUBLIC, as_host("10.0.0.7"), ["@target-uri"], "https://pos.example/qerko/webhook/…/"),
    "host, a field": (PUBLIC, as_host("10.0.0.7"), ["host"], "//pos.example/qerko/webhook/…/"),
    "X-Forwarded": (
        "https://hidden.example:8443/qerko/webhook/{token}/",
        told_by_headers,
        ["@target-uri"],
        "https://hidden.example:8443/qerko/webhook/…/",
    ),
    "Forwarded": (
        "https://hidden.example/qerko/webhook/{token}/",
        forwarded,
        ["@target-uri"],
        "https://hidden.example/qerko/webhook/…/",
    ),
    "prefix taken off": (
        "https://pos.example/pub/qerko/webhook/{token}/",
        prefixed,
        ["@path"],
        "/pub/qerko/webhook/…/",
    ),
    "prefix put on": (
        "https://pos.example/webhook/{token}/",
        at_another_path(lambda path: f"/qerko{path}"),
        ["@request-target"],
        "/webhook/…/",
    ),
    "another path": ("https://pos.example/hook/{token}", rewritten, ["@path"], "/hook/…"),
    "slash put on": (PUBLIC[:-1], at_another_path(lambda path: f"{path}/"), ["@path"], "/qerko/webhook/…"),
    "slash taken off": (PUBLIC, at_another_path(lambda path: path[:-1]), ["@path"], "/qerko/webhook/…/"),
    "query put on": (PUBLIC, at_another_path(lambda path: f"{path}?via=x"), ["@query", "@path"], "/qerko/webhook/…/"),
}


@pytest.mark.parametrize(("signed", "meddle", "covered", "verifies"), ADDRESSES.values(), ids=ADDRESSES)
def test_an_address_that_a_proxy_changed_is_named_with_the_value_that_verifies(
    transactional_restaurant: Restaurant,
    live_server: LiveServer,
    memory_of_its_own: rejections.Counter,
    settings: Settings,
    signed: str,
    meddle: Meddling,
    covered: list[str],
    verifies: str,
) -> None:
    settings.ALLOWED_HOSTS = ["*", "pos.example"]
    url = signed.format(token=transactional_restaurant.webhook_token)
    with proxy(live_server.url, meddle) as origin:
        delivery = sealed(url, [*covered, "content-digest"])
        assert send_to(origin, delivery).status == 401

    _, sample = find(memory_of_its_own)
    (cause,) = sample["causes"]
    assert cause["cause"] == "address_changed"
    assert f"{verifies} verifies" in cause["told"]
    assert covered[0] in cause["told"]
    assert str(transactional_restaurant.webhook_token) not in cause["told"]


def test_a_public_url_that_is_wrong_is_an_address_that_changed(
    transactional_restaurant: Restaurant,
    live_server: LiveServer,
    memory_of_its_own: rejections.Counter,
    settings: Settings,
) -> None:
    settings.QERKO = {**settings.QERKO, "PUBLIC_URL": "https://wrong.example"}
    delivery = sign(BODY, url=address(transactional_restaurant, origin=live_server.url), components=["@authority"])

    assert send_to(live_server.url, delivery).status == 401

    _, sample = find(memory_of_its_own)
    assert named(sample) == ["address_changed"]
    assert "came as https://wrong.example/" in sample["causes"][0]["told"]


@pytest.mark.parametrize("schemes", [BOTH, PLAIN, LABELS])
def test_the_key_of_another_restaurant_is_named_by_its_row(
    transactional_restaurant: Restaurant,
    live_server: LiveServer,
    memory_of_its_own: rejections.Counter,
    schemes: Sequence[str],
) -> None:
    row = Restaurant.objects.create(name="U Fleků").add_key(OTHER_KEY)
    url = address(transactional_restaurant, origin=live_server.url)

    response = send_to(live_server.url, sign(BODY, url=url, key=OTHER_KEY, schemes=schemes))

    _, sample = find(memory_of_its_own)
    (cause,) = sample["causes"]
    assert (cause["cause"], cause["key"]) == ("other_key", row.pk)
    assert json.loads(response.body) == {"code": "UNAUTHORIZED", "message": "The signature does not match."}
    assert "Fleků" not in json.dumps(sample, ensure_ascii=False)
    assert row.shown not in json.dumps(sample, ensure_ascii=False)


def test_a_key_of_another_is_not_the_cause_of_what_a_proxy_did(
    transactional_restaurant: Restaurant, live_server: LiveServer, memory_of_its_own: rejections.Counter
) -> None:
    Restaurant.objects.create(name="U Fleků").add_key(OTHER_KEY)
    with proxy(live_server.url, written_anew(indent=2)) as origin:
        url = address(transactional_restaurant, origin=origin)
        send_to(origin, sign(BODY, url=url, key=OTHER_KEY))

    assert named(find(memory_of_its_own)[1]) == ["other_key", "body_reencoded"]


@pytest.mark.parametrize("secret", [None, "nonsense"])
def test_a_restaurant_without_a_readable_key_is_named(
    transactional_restaurant: Restaurant,
    live_server: LiveServer,
    memory_of_its_own: rejections.Counter,
    secret: str | None,
) -> None:
    if secret:
        RestaurantKey.objects.update(secret=secret)
    else:
        RestaurantKey.objects.all().delete()

    send_to(live_server.url, sign(BODY, url=address(transactional_restaurant, origin=live_server.url)))

    assert named(find(memory_of_its_own)[1]) == ["no_key"]


#: A window is a minute long, and the server takes its time.
@pytest.mark.parametrize(
    ("created", "cause", "least", "most"), [(100, "clock_behind", 70, 100), (-100, "expired", 40, 70)]
)
def test_a_clock_that_is_off_is_named_with_by_how_much(
    transactional_restaurant: Restaurant,
    live_server: LiveServer,
    memory_of_its_own: rejections.Counter,
    created: float,
    cause: str,
    least: float,
    most: float,
) -> None:
    url = address(transactional_restaurant, origin=live_server.url)

    assert send_to(live_server.url, sign(BODY, url=url, created=time.time() + created)).status == 410

    _, sample = find(memory_of_its_own)
    assert named(sample) == [cause]
    seconds = re.search(r"\d+\.\d(?= s )", sample["causes"][0]["told"])
    assert seconds
    assert least <= float(seconds[0]) <= most
    assert sample["window"]["expires"] - sample["window"]["created"] == 60


@pytest.mark.process
@pytest.mark.parametrize("schemes", [LABELS, PLAIN])
def test_what_expired_on_its_way_is_named_with_how_long_ago(
    transactional_restaurant: Restaurant,
    live_server: LiveServer,
    memory_of_its_own: rejections.Counter,
    schemes: Sequence[str],
) -> None:
    with proxy(live_server.url, lambda _: time.sleep(2.2)) as origin:
        url = address(transactional_restaurant, origin=origin)
        delivery = sign(document("getBill"), url=url, schemes=schemes, lifetime=1)
        assert send_to(origin, delivery).status == 410

    _, sample = find(memory_of_its_own)
    assert named(sample) == ["expired"]
    assert sample["window"]["judged"] - sample["window"]["expires"] >= 1


@pytest.mark.process
def test_what_expired_while_its_body_came_is_named(
    transactional_restaurant: Restaurant, live_server: LiveServer, memory_of_its_own: rejections.Counter
) -> None:
    delivery = sign(BODY, url=address(transactional_restaurant, origin=live_server.url), lifetime=2)
    host = urlsplit(delivery.url).netloc
    headers = delivery.headers | {"Host": host, "Content-Length": str(len(BODY)), "Connection": "close"}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection((urlsplit(delivery.url).hostname, urlsplit(delivery.url).port)) as line:
        line.sendall(f"POST {urlsplit(delivery.url).path} HTTP/1.1\r\n{head}\r\n".encode())
        time.sleep(3.2)
        line.sendall(BODY)
        assert b" 410 " in line.recv(100)

    assert named(find(memory_of_its_own)[1]) == ["expired_while_read"]


@pytest.mark.parametrize("is_known", [True, False])
def test_a_window_that_is_missing_is_named(
    transactional_restaurant: Restaurant,
    live_server: LiveServer,
    memory_of_its_own: rejections.Counter,
    is_known: bool,
) -> None:
    url = address(transactional_restaurant, origin=live_server.url)
    signed = sign(BODY, url=url, schemes=PLAIN)

    assert send_to(live_server.url, signed).status == 410
    if not is_known:
        # Meanwhile its key was taken away: what was judged cannot be read again.
        RestaurantKey.objects.all().delete()
        transactional_restaurant.add_key(OTHER_KEY)

    _, sample = find(memory_of_its_own)
    assert named(sample) == ["window_missing"]
    assert "created and expires" in sample["causes"][0]["told"]


def test_a_chunked_body_that_the_server_does_not_hand_through_is_named(
    transactional_restaurant: Restaurant, live_server: LiveServer, memory_of_its_own: rejections.Counter
) -> None:
    delivery = sign(BODY, url=address(transactional_restaurant, origin=live_server.url))

    assert send_to(live_server.url, delivery, chunked=True).status == 400

    rejection, sample = find(memory_of_its_own)
    assert rejection.reason == "chunked_body_lost"
    assert "causes" not in sample  # the reason says it all, and no body was there to look at


def test_a_chunked_body_that_a_proxy_loses_is_named(
    transactional_restaurant: Restaurant, live_server: LiveServer, memory_of_its_own: rejections.Counter
) -> None:
    with proxy(live_server.url, changed(lambda _: b"")) as origin:
        delivery = sign(BODY, url=address(transactional_restaurant, origin=origin))
        assert send_to(origin, delivery, chunked=True).status == 401

    _, sample = find(memory_of_its_own)
    assert named(sample) == ["body_lost"]
    assert "lost on its way" in sample["causes"][0]["told"]


def test_an_honest_proxy_changes_nothing(
    transactional_restaurant: Restaurant, live_server: LiveServer, memory_of_its_own: rejections.Counter
) -> None:
    with proxy(live_server.url, honest) as origin:
        delivery = sign(BODY, url=address(transactional_restaurant, origin=origin))
        assert [send_to(origin, delivery, chunked=chunked).status for chunked in (True, False)] == [422, 422]

    memory_of_its_own.write()
    assert not Rejection.objects.exists()


def test_what_is_signed_otherwise_than_ours_is_named(
    transactional_restaurant: Restaurant, live_server: LiveServer, memory_of_its_own: rejections.Counter
) -> None:
    url = address(transactional_restaurant, origin=live_server.url)
    signed = sign(BODY, url=url, schemes=LABELS, components=["@method"])
    request = signatures.SignedRequest(method="POST", target_uri=url, headers=[], body=BODY)
    seal = signatures.sign_rfc9421(
        request, KEY.mac, components=["@method"], created=1, expires=2, parameters={"alg": "rsa-v1_5-sha256"}
    )
    send_to(live_server.url, signed)
    send_to(live_server.url, Signed(url=url, body=BODY, headers=seal))

    memory_of_its_own.write()
    causes = {row.reason: named(row.samples[0]) for row in Rejection.objects.all()}
    assert causes == {"body_not_bound": ["body_not_bound"], "signature_mismatch": ["algorithm"]}


def test_a_scheme_that_is_required_and_missing_is_named(
    transactional_restaurant: Restaurant,
    live_server: LiveServer,
    memory_of_its_own: rejections.Counter,
    settings: Settings,
) -> None:
    settings.QERKO = {**settings.QERKO, "SIGNATURE_SCHEMES": [HMAC_SHA256]}
    url = address(transactional_restaurant, origin=live_server.url)

    send_to(live_server.url, sign(BODY, url=url, schemes=LABELS))

    assert named(find(memory_of_its_own)[1]) == ["scheme_missing"]


# -- What an attacker gets for it -----------------------------------------------------------------


@pytest.mark.parametrize("schemes", [BOTH, PLAIN, LABELS])
def test_garbage_says_nothing_about_any_key(
    transactional_restaurant: Restaurant,
    live_server: LiveServer,
    memory_of_its_own: rejections.Counter,
    caplog: pytest.LogCaptureFixture,
    schemes: Sequence[str],
) -> None:
    Restaurant.objects.create(name="U Fleků").add_key(OTHER_KEY)
    url = address(transactional_restaurant, origin=live_server.url)
    with caplog.at_level(logging.DEBUG):
        said = {
            send_to(live_server.url, sign(body, url=url, key=STRANGERS, schemes=schemes)).body
            for body in (b"", b"garbage", BODY)
        }
        memory_of_its_own.write()

    kept = [sample for row in Rejection.objects.all() for sample in row.samples]
    assert [name for sample in kept for name in named(sample)] == ["body_lost", "unexplained", "unexplained"]
    for text in (*map(json.dumps, kept), caplog.text, *(answer.decode() for answer in said)):
        assert not any(secret in text for secret in ("e4e1", "4757", "eeeu", "wzgd"))
    assert len(said) == 1
    assert [sample for sample in kept if any("key" in cause for cause in sample["causes"])] == []


def test_a_flood_is_diagnosed_a_few_times_a_second(
    transactional_restaurant: Restaurant, live_server: LiveServer, memory_of_its_own: rejections.Counter
) -> None:
    url = address(transactional_restaurant, origin=live_server.url)
    for round_ in range(2):
        for _ in range(10):
            send_to(live_server.url, sign(document("getBill"), url=url, key=OTHER_KEY))
            assert sum(count.number for count in memory_of_its_own._counts.values()) <= 10
        held = [sample for count in memory_of_its_own._counts.values() for sample in count.samples if sample.evidence]
        assert len(held) == rejections.DIAGNOSED_AT_ONCE
        memory_of_its_own.write()
        assert Rejection.objects.get().number == 10 * (round_ + 1)

    assert [named(sample) for sample in Rejection.objects.get().samples] == [["unexplained"]] * 3


def test_a_diagnosis_that_breaks_leaves_the_counts(
    transactional_restaurant: Restaurant,
    memory_of_its_own: rejections.Counter,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def gone(*_: Any, **__: Any) -> Any:
        raise Error("no database")

    monkeypatch.setattr(diagnosis, "readable", gone)
    sign(BODY, url=address(transactional_restaurant), key=OTHER_KEY).send()

    _, sample = find(memory_of_its_own)
    assert "could not be diagnosed" in caplog.text
    assert "causes" not in sample
