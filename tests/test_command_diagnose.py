"""Why a delivery was turned away is told: of a recorded one, and of a request in a file."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError
from django.db import OperationalError
from django.utils import timezone
from pytest_django import Settings

from django_qerko import signatures
from django_qerko.management import recorded
from django_qerko.models import Rejection, Restaurant, RestaurantKey
from django_qerko.models.restaurant import RestaurantQuerySet
from django_qerko.receiving import rejections
from tests.commands import run
from tests.deliveries import KEY, OTHER_KEY, Signed, address, document, sign
from tests.records import SECOND, enter

PUBLIC = "https://pos.example"


def saved(
    delivery: Signed, *, end: str = "\r\n", mark: str = "", host: str = "pos.example", length: bool = True
) -> bytes:
    """A delivery as it goes over the wire."""
    path = delivery.url.removeprefix(PUBLIC)
    headers = {"Host": host, **delivery.headers} | ({"Content-Length": str(len(delivery.body))} if length else {})
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), ""]
    return "".join(f"{mark}{line}{end}" for line in lines).encode() + delivery.body


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes], str]:
    def write(content: bytes) -> str:
        path = tmp_path / "request.http"
        path.write_bytes(content)
        return str(path)

    return write


File = Callable[[bytes], str]


def bill(restaurant: Restaurant, **how: Any) -> Signed:
    return sign(document("getBill"), url=address(restaurant, origin=PUBLIC), **how)


# -- What was recorded ----------------------------------------------------------------------------


def test_the_latest_rejections_are_listed_with_their_ids(
    restaurant: Restaurant, memory_of_its_own: rejections.Counter, settings: Settings
) -> None:
    Restaurant.objects.create(name="U Fleků").add_key(OTHER_KEY)
    bill(restaurant, key=OTHER_KEY).send()
    Signed(url=f"{PUBLIC}/qerko/webhook/elsewhere/", body=b"", headers={}).send()
    memory_of_its_own.write()

    lines = [line.split("\t") for line in run("qerko_diagnose").splitlines()]

    assert lines[0] == ["id", "last", "reason", "restaurant", "why"]
    told = {reason: (name, whose, why) for name, _, reason, whose, why in lines[1:]}
    forged = Rejection.objects.get(reason="signature_mismatch")
    assert told["signature_mismatch"] == (next(iter(forged.named_samples)), "U Zlatého tygra", "other_key")
    assert told["unknown_address"][1:] == ("", "This address under the webhook's is nobody's")
    assert len(run("qerko_diagnose", "--limit", "1").splitlines()) == 2


@pytest.mark.django_db
def test_where_nothing_was_turned_away_that_is_said() -> None:
    errors = io.StringIO()

    assert run("qerko_diagnose", stderr=errors) == ""

    assert errors.getvalue() == "Nothing was turned away.\n"


def test_whose_key_it_was_is_told_to_whoever_asks_and_at_most_its_last_four_characters(
    restaurant: Restaurant, memory_of_its_own: rejections.Counter
) -> None:
    theirs = Restaurant.objects.create(name="U Fleků\x1b[2J").add_key(OTHER_KEY)
    delivery = bill(restaurant, key=OTHER_KEY)
    delivery.send()
    memory_of_its_own.write()
    name = next(iter(Rejection.objects.get().named_samples))

    shown = run("qerko_diagnose", name, no_color=True)

    lines = shown.splitlines()
    assert lines[0] == f"{name}: signature_mismatch, at the door of U Zlatého tygra"
    assert lines[2].startswith(f"  body: {len(delivery.body)} bytes, SHA-256 ")
    assert "Signature-Input" in lines[3]
    assert lines[4:] == [
        "other_key",
        "  It was signed with the key of another restaurant. It is …4757 of U Fleků\\x1b[2J.",
        "  Give Qerko the address that belongs to the key, or give this restaurant its key: qerko_restaurant.",
    ]
    assert OTHER_KEY.reveal()[:9] not in shown

    theirs.delete()
    assert "That key is gone by now." in run("qerko_diagnose", name)


def test_all_samples_of_a_rejection_are_shown_by_its_own_id(
    restaurant: Restaurant, memory_of_its_own: rejections.Counter
) -> None:
    for _ in range(2):
        bill(restaurant, key=OTHER_KEY).send()
    memory_of_its_own.write()
    rejection = Rejection.objects.get()

    shown = run("qerko_diagnose", str(rejection.pk), no_color=True)

    assert all(f"{name}: signature_mismatch" in shown for name in rejection.named_samples)
    assert shown.count("unexplained") == 2


def kept(restaurant: Restaurant | None, reason: str, *samples: dict[str, Any]) -> Rejection:
    now = timezone.now()
    row = {"reason": reason, "restaurant": restaurant, "number": 7, "samples": list(samples)}
    return Rejection.objects.create(slot=reason, hour=now, first_at=now, last_at=now, **row)


def test_what_was_not_looked_at_says_what_its_reason_says(restaurant: Restaurant) -> None:
    known = kept(restaurant, "body_cut", {"id": "ab", "finding": "It was cut."})
    other = kept(None, "signature_mismatch", {"finding": "It does not fit."})
    empty = kept(None, "too_large")

    assert run("qerko_diagnose", f"{known.pk}-ab", no_color=True).splitlines()[2:4] == ["body_cut", "  It was cut."]
    assert run("qerko_diagnose", str(other.pk), no_color=True).splitlines() == [
        f"{other.pk}-0: signature_mismatch, at the door of nobody",
        "  It does not fit.",
    ]
    assert "No sample" in run("qerko_diagnose", str(empty.pk))
    assert f"{empty.pk}\t" in run("qerko_diagnose")


@pytest.mark.parametrize("name", ["x", "99", "99-ab", "-1"])
def test_what_is_not_there_is_said(restaurant: Restaurant, name: str) -> None:
    with pytest.raises(CommandError, match="no rejection") as refused:
        run("qerko_diagnose", "--", name)

    assert refused.value.returncode == 2


def test_a_sample_that_gave_way_to_newer_ones_is_said_to_have(restaurant: Restaurant) -> None:
    rejection = kept(restaurant, "expired", {"id": "ab"})

    with pytest.raises(CommandError, match=f"given way to newer ones: {rejection.pk}-ab"):
        run("qerko_diagnose", f"{rejection.pk}-cd")


@pytest.mark.parametrize(
    ("ages", "said"),
    [
        ([], "No delivery was accepted in the quarter of an hour around it"),
        (
            [0.5, 1.5],
            "2 accepted in the quarter of an hour around it the quickest came 0.5 s after it was created, so the",
        ),
        ([58], "the quickest came 58.0 s after it was created, which is late as well"),
    ],
)
def test_other_deliveries_of_that_time_say_whether_the_clock_is_right(
    restaurant: Restaurant,
    memory_of_its_own: rejections.Counter,
    settings: Settings,
    ages: list[float],
    said: str,
) -> None:
    now = timezone.now()
    for number, age in enumerate(ages):
        enter(restaurant, event_id=f"e{number}", received_at=now, deadline_at=now + (15 - age) * SECOND)
    enter(restaurant, event_id="later", received_at=now + timedelta(hours=1), deadline_at=now + timedelta(hours=1))
    bill(restaurant, created=time.time() - 70).send()
    memory_of_its_own.write()

    shown = run("qerko_diagnose", str(Rejection.objects.get().pk), no_color=True)

    assert "\nexpired\n  It expired 1" in shown
    assert said in shown


def test_a_project_without_time_zones_compares_as_its_database_does(settings: Settings) -> None:
    settings.USE_TZ, settings.TIME_ZONE = False, "Europe/Prague"

    assert recorded._moment(0) == datetime(1970, 1, 1, 1)  # noqa: DTZ001


# -- What is in a file ----------------------------------------------------------------------------


def test_a_request_that_is_right_is_said_to_be(restaurant: Restaurant, settings: Settings, file: File) -> None:
    settings.QERKO = {**settings.QERKO, "PUBLIC_URL": PUBLIC}
    delivery = bill(restaurant, created=time.time() - 3600, components=["@target-uri", "content-digest"])

    shown = run("qerko_diagnose", "--file", file(saved(delivery)), no_color=True)

    assert shown.splitlines()[0].startswith("POST /qerko/webhook/")
    assert "It is judged by the keys of U Zlatého tygra." in shown
    assert "--at judges it" in shown
    assert shown.endswith("Nothing is wrong with its signature.\n")


SHAPES: dict[str, dict[str, Any]] = {
    "CRLF": {},
    "LF": {"end": "\n"},
    "curl -v": {"mark": "> "},
    "curl -v, LF": {"mark": "> ", "end": "\n"},
    "without a length": {"length": False},
}


@pytest.mark.parametrize("how", SHAPES.values(), ids=SHAPES)
def test_a_file_may_come_from_whatever_saved_it(restaurant: Restaurant, file: File, how: dict[str, Any]) -> None:
    content = saved(bill(restaurant), **how)
    noise = b"* Connected to pos.example\n" if how.get("mark") else b"12:00 captured\n\n"

    assert "Nothing is wrong" in run("qerko_diagnose", "--file", file(noise + content))


def test_a_line_break_of_the_editor_is_not_the_cause(restaurant: Restaurant, file: File) -> None:
    assert "Nothing is wrong" in run("qerko_diagnose", "--file", file(saved(bill(restaurant)) + b"\n"))

    shown = run("qerko_diagnose", "--file", file(saved(bill(restaurant), length=False) + b"\n"))
    assert "\nbody_newline\n" in shown
    assert "may be the editor's" in shown


def test_a_file_of_headers_wants_the_body(restaurant: Restaurant, file: File, tmp_path: Path) -> None:
    delivery = bill(restaurant)
    head = saved(delivery, mark="> ").removesuffix(delivery.body)
    curls = file(head + b"* upload completely sent off\n< HTTP/1.1 401 Unauthorized\n<\n{}")

    with pytest.raises(CommandError, match="--body"):
        run("qerko_diagnose", "--file", curls)

    body = tmp_path / "body.json"
    body.write_bytes(delivery.body)
    assert "Nothing is wrong" in run("qerko_diagnose", "--file", curls, "--body", str(body))


def test_what_curl_says_in_between_is_skipped(restaurant: Restaurant, file: File) -> None:
    content = saved(bill(restaurant), mark="> ").replace(b"> Host", b"* using HTTP/1.x\n> Host", 1)

    assert "Nothing is wrong" in run("qerko_diagnose", "--file", file(content))


def test_a_request_without_times_is_said_to_have_none(restaurant: Restaurant, file: File) -> None:
    delivery = sign(b"{}", url=address(restaurant, origin=PUBLIC), schemes=[signatures.HMAC_SHA256])

    shown = run("qerko_diagnose", "--file", file(saved(delivery)))

    assert "\nwindow_missing\n" in shown
    assert "It was valid" not in shown


def chunked(delivery: Signed, framed: bytes) -> bytes:
    head = saved(delivery, length=False).removesuffix(delivery.body)
    return head.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n") + framed


def test_chunks_are_put_together(restaurant: Restaurant, file: File) -> None:
    delivery = bill(restaurant)
    framed = b"5\r\n%s\r\n%x;x=y\r\n%s\r\n0\r\n\r\n" % (delivery.body[:5], len(delivery.body) - 5, delivery.body[5:])

    assert "Nothing is wrong" in run("qerko_diagnose", "--file", file(chunked(delivery, framed)))
    assert "not in chunks" in run("qerko_diagnose", "--file", file(chunked(delivery, delivery.body)))


def test_what_is_odd_about_a_file_is_said(restaurant: Restaurant, file: File) -> None:
    delivery = bill(restaurant)

    assert "7 bytes, is left out" in run("qerko_diagnose", "--file", file(saved(delivery) + b"POST / \n"[:7]))
    cut = run("qerko_diagnose", "--file", file(saved(delivery)[:-3]))
    assert f"The file holds {len(delivery.body) - 3} bytes of a body of {len(delivery.body)}." in cut
    assert "\nbody_changed\n" in cut


def test_the_address_that_qerko_calls_may_be_named(restaurant: Restaurant, file: File) -> None:
    delivery = bill(restaurant, components=["@target-uri", "content-digest"])
    content = file(saved(delivery, host="10.0.0.7:8000"))

    assert "which is @target-uri, content-digest." in run("qerko_diagnose", "--file", content)
    shown = run("qerko_diagnose", "--file", content, "--url", delivery.url)

    assert "https://pos.example/qerko/webhook/…/ verifies, and it came as http://10.0.0.7:8000/" in shown


def test_a_request_to_an_absolute_address_is_read(restaurant: Restaurant, file: File) -> None:
    delivery = bill(restaurant, components=["@target-uri", "content-digest"])
    content = saved(delivery, host="10.0.0.7").replace(b"POST /", b"POST https://pos.example/", 1)

    assert "Nothing is wrong" in run("qerko_diagnose", "--file", file(content))


def test_a_request_without_a_host_is_read(restaurant: Restaurant, file: File) -> None:
    content = saved(bill(restaurant)).replace(b"Host: pos.example\r\n", b"")

    assert "Nothing is wrong" in run("qerko_diagnose", "--file", file(content))


@pytest.mark.parametrize(("ago", "cause"), [(0, None), (-3600, "clock_behind"), (3600, None)])
def test_only_a_moment_that_is_named_makes_an_old_request_late(
    restaurant: Restaurant, file: File, ago: float, cause: str | None
) -> None:
    content = file(saved(bill(restaurant, created=time.time() - ago)))

    assert (f"\n{cause}\n" in run("qerko_diagnose", "--file", content)) is (cause is not None)
    if ago == 3600:
        assert "\nexpired\n" in run("qerko_diagnose", "--file", content, "--at", "5m")
        assert "Nothing is wrong" in run(
            "qerko_diagnose",
            "--file",
            content,
            "--at",
            datetime.fromtimestamp(time.time() - ago + 1, tz=UTC).isoformat(),
        )


def test_a_genuine_body_that_is_not_understood_is_said_to_be(restaurant: Restaurant, file: File) -> None:
    delivery = sign(b"no JSON", url=address(restaurant, origin=PUBLIC))

    assert "But it is not understood: The body is not JSON" in run("qerko_diagnose", "--file", file(saved(delivery)))


def elsewhere(delivery: Signed) -> Signed:
    return sign(delivery.body, url=f"{PUBLIC}/hook")


def test_the_restaurant_is_the_only_one_or_the_one_that_is_named(restaurant: Restaurant, file: File) -> None:
    content = file(saved(elsewhere(bill(restaurant))))
    assert "the keys of U Zlatého tygra" in run("qerko_diagnose", "--file", content)

    theirs = Restaurant.objects.create(name="U Fleků")
    with pytest.raises(CommandError, match="--restaurant"):
        run("qerko_diagnose", "--file", content)
    assert "Nothing is wrong" in run("qerko_diagnose", "--file", content, "--restaurant", "U Zlatého tygra")

    assert "\nno_key\n" in run("qerko_diagnose", "--file", content, "--restaurant", "U Fleků")
    theirs.add_key(OTHER_KEY)
    shown = run("qerko_diagnose", "--file", content, "--restaurant", "U Fleků")
    assert "\nother_key\n" in shown
    assert "It is …e4e1 of U Zlatého tygra." in shown


def test_a_key_that_is_named_is_the_one_that_judges(restaurant: Restaurant, file: File) -> None:
    mine = file(saved(bill(restaurant)))
    shown = run("qerko_diagnose", "--file", mine, "--api-key", KEY.reveal())
    assert "It is judged by the key …e4e1, which U Zlatého tygra has." in shown
    assert "Nothing is wrong" in shown
    assert KEY.reveal()[:9] not in shown

    rotated_away = file(saved(bill(restaurant, key=OTHER_KEY)))
    shown = run("qerko_diagnose", "--file", rotated_away, "--api-key", OTHER_KEY.reveal())
    assert "the key …4757, which no restaurant here has" in shown
    assert "Nothing is wrong" in shown


def broken(*_: Any, **__: Any) -> Any:
    raise OperationalError("no such table")


def test_with_a_key_no_database_is_needed(restaurant: Restaurant, file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    content = file(saved(elsewhere(bill(restaurant))))
    monkeypatch.setattr(RestaurantQuerySet, "only_one", broken)

    assert "Nothing is wrong" in run("qerko_diagnose", "--file", content, "--api-key", KEY.reveal())
    with pytest.raises(CommandError, match="no such table.*--api-key"):
        run("qerko_diagnose", "--file", content)


def test_the_key_and_the_request_may_come_from_standard_input(
    restaurant: Restaurant, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = f"{KEY.reveal()}\n".encode() + saved(bill(restaurant))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(typed)))

    assert "Nothing is wrong" in run("qerko_diagnose", "--api-key", "-", "--file", "-")


@pytest.mark.parametrize("typed", [b"", b"my secret key\n", b"\xff\n"])
def test_a_key_that_is_none_is_not_repeated(monkeypatch: pytest.MonkeyPatch, typed: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(typed)))

    with pytest.raises(CommandError, match="An API key is") as refused:
        run("qerko_diagnose", "--api-key", "-", "--file", "-")

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no request line"),
        (b"hello", "no request line"),
        (b"xPOST / HTTP/1.1\n\n", "no request line"),
        (b"POST / HTTP/1.1\nno header\n\n", "this is no header: no header"),
        (b"POST / HTTP/1.1\n folded\n\n", "this is no header"),
    ],
)
def test_a_file_without_a_request_is_refused(file: File, content: bytes, said: str) -> None:
    with pytest.raises(CommandError, match=f"holds no request: .*{said}") as refused:
        run("qerko_diagnose", "--file", file(content))

    assert refused.value.returncode == 2


def test_a_head_that_does_not_end_has_no_body(restaurant: Restaurant, file: File) -> None:
    head = saved(bill(restaurant)).split(b"\r\n\r\n", maxsplit=1)[0]

    assert "\nbody_lost\n" in run("qerko_diagnose", "--file", file(head))


def test_a_header_of_several_lines_is_read(restaurant: Restaurant, file: File) -> None:
    content = saved(bill(restaurant)).replace(b'("@method" ', b'("@method"\r\n ')

    assert "Nothing is wrong" in run("qerko_diagnose", "--file", file(content))


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be read: No such file"):
        run("qerko_diagnose", "--file", str(tmp_path / "none"))


@pytest.mark.parametrize("options", [("--url", PUBLIC), ("7", "--api-key", KEY.reveal()), ("--body", "x")])
def test_options_about_a_file_want_a_file(options: tuple[str, ...]) -> None:
    with pytest.raises(CommandError, match="--file, which is not named") as refused:
        run("qerko_diagnose", *options)

    assert refused.value.returncode == 2


def test_what_nothing_explains_ends_with_a_failure(restaurant: Restaurant, file: File) -> None:
    RestaurantKey.objects.all().delete()
    restaurant.add_key(OTHER_KEY)

    with pytest.raises(CommandError, match="not known") as refused:
        run("qerko_diagnose", "--file", file(saved(bill(restaurant))))

    assert refused.value.returncode == 1
