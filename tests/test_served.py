"""The road through a real server process, with real bytes."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path

import pytest
from django.db import connection

from django_qerko import signatures
from django_qerko.models import Rejection, Restaurant, WebhookEvent
from tests.deliveries import KEY, OTHER_KEY, Signed, address, document, sign
from tests.servers import Response, Server, send, serving
from tests.till.models import Note

pytestmark = [pytest.mark.process, pytest.mark.django_db(transaction=True)]


def bill(server: Server, restaurant: Restaurant, bill_id: str = "42", event_id: str | None = None) -> Signed:
    body = document("getBill", {"billId": bill_id}, event_id=event_id)
    return sign(body, url=address(restaurant, origin=server.origin))


Delivery = Callable[[str, str, list[str]], Signed]


def _good(url: str, event: str, schemes: list[str]) -> Signed:
    return sign(document("getBill"), url=url + event, schemes=schemes)


def _unknown_bill(url: str, event: str, schemes: list[str]) -> Signed:
    return sign(document("getBill", {"billId": "unknown"}), url=url + event, schemes=schemes)


def _broken(url: str, event: str, schemes: list[str]) -> Signed:
    return sign(document("getBill", {"billId": "broken"}), url=url + event, schemes=schemes)


def _no_such_method(url: str, event: str, schemes: list[str]) -> Signed:
    name = "orderStart"
    return sign(document(name, {}), url=url + (f"{name}/" if event else ""), schemes=schemes)


def _not_json(url: str, event: str, schemes: list[str]) -> Signed:
    return sign(b"no JSON at all", url=url + event, schemes=schemes)


def _forged(url: str, event: str, schemes: list[str]) -> Signed:
    return sign(document("getBill"), url=url + event, schemes=schemes, key=OTHER_KEY)


def _nowhere(url: str, event: str, schemes: list[str]) -> Signed:
    elsewhere = "0" * 8 + "-0000-4000-8000-" + "0" * 12
    return sign(document("getBill"), url=f"{url.rsplit('/', 2)[0]}/{elsewhere}/{event}", schemes=schemes)


def _expired(url: str, event: str, schemes: list[str]) -> Signed:
    return sign(document("getBill"), url=url + event, schemes=schemes, created=time.time() - 100)


def _late(url: str, event: str, schemes: list[str]) -> Signed:
    return sign(document("getBill"), url=url + event, schemes=schemes, created=time.time() - 20)


def _too_large(url: str, event: str, schemes: list[str]) -> Signed:
    return sign(document("getBill", padding="x" * 1_000_000), url=url + event, schemes=schemes)


STATUSES: list[tuple[Delivery, int, str | None]] = [
    (_good, 200, None),
    (_unknown_bill, 422, "BILL_NOT_FOUND"),
    (_no_such_method, 422, "NO_SUCH_METHOD"),
    (_broken, 500, None),
    (_not_json, 400, "BAD_PAYLOAD"),
    (_forged, 401, "UNAUTHORIZED"),
    (_nowhere, 404, "NOT_FOUND"),
    (_expired, 410, "TIME_LIMIT_EXPIRED"),
    (_late, 410, "TIME_LIMIT_EXPIRED"),
    (_too_large, 413, "BAD_PAYLOAD"),
]
SHAPES = [
    (schemes, event, chunked)
    for schemes in (list(signatures.SCHEMES), [signatures.RFC9421], [signatures.HMAC_SHA256])
    for event in ("", "getBill/")
    for chunked in (False, True)
]


def test_every_status_comes_over_the_wire(transactional_restaurant: Restaurant, tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        url = address(transactional_restaurant, origin=server.origin)
        heard = {
            (delivery.__name__, str(schemes), event, chunked): _status_and_code(
                send(delivery(url, event, schemes), chunked=chunked)
            )
            for delivery, _, _ in STATUSES
            for schemes, event, chunked in SHAPES
        }

    expected = {
        (delivery.__name__, str(schemes), event, chunked): (status, code)
        for delivery, status, code in STATUSES
        for schemes, event, chunked in SHAPES
    }
    assert heard == expected


def _status_and_code(response: Response) -> tuple[int, str | None]:
    assert response.headers["Content-Type"] == "application/json"
    said = json.loads(response.body)
    if response.status != 200:
        assert sorted(said) == ["code", "message"]
    return response.status, said.get("code")


def test_twenty_deliveries_at_once_are_one_handling(transactional_restaurant: Restaurant, tmp_path: Path) -> None:
    with serving(tmp_path, workers=2, threads=12) as server, ThreadPoolExecutor(20) as guests:
        delivery = bill(server, transactional_restaurant, "slow:0.3")
        responses = list(guests.map(send, [delivery] * 20))

    assert Counter((response.status, response.body) for response in responses) == {(200, responses[0].body): 20}
    assert WebhookEvent.objects.get().handlings == 1
    assert Note.objects.count() == 1


def test_a_killed_handling_is_undone_and_handled_once_its_lease_has_run_out(
    transactional_restaurant: Restaurant, tmp_path: Path
) -> None:
    with serving(tmp_path, SERVED_DEADLINE="6") as server, ThreadPoolExecutor(1) as guest:
        started = time.monotonic()
        lost = guest.submit(send, bill(server, transactional_restaurant, "slow:1", "e"))
        _until(lambda: WebhookEvent.objects.filter(state="handling").exists(), seconds=5)
        server.kill_workers()
        assert isinstance(lost.exception(), (ConnectionError, HTTPException))
        # 503 while the claim lives; 410 where a slow machine started workers, or handled, for longer than the deadline.
        statuses: list[int] = []
        while 200 not in statuses:
            statuses.append(send(bill(server, transactional_restaurant, "slow:1", "e")).status)
            assert time.monotonic() < started + 60
        took = time.monotonic() - started

    assert set(statuses) <= {200, 410, 503}
    assert took >= 5  # the deadline, less the fraction of a second that `created` does not tell
    # A handling that was too slow is undone, too, and told so.
    assert 2 <= WebhookEvent.objects.get().handlings <= 2 + statuses.count(410)
    assert [str(note) for note in Note.objects.all()] == ["e"]


def test_ten_thousand_forgeries_leave_counters_and_a_server_that_answers(
    transactional_restaurant: Restaurant, tmp_path: Path
) -> None:
    with serving(tmp_path, workers=2, threads=4) as server, ThreadPoolExecutor(8) as attackers:
        forged = sign(document("getBill"), url=address(transactional_restaurant, origin=server.origin), key=OTHER_KEY)
        flood = [attackers.submit(send, forged) for _ in range(10_000)]
        true = [send(bill(server, transactional_restaurant)).status for _ in range(20)]
        assert {attack.result().status for attack in flood} == {401}
        _until(lambda: Rejection.objects.by_reason() == {"signature_mismatch": 10_000}, seconds=2)

    assert true == [200] * 20
    assert WebhookEvent.objects.count() == 20
    assert sum(len(row.samples) for row in Rejection.objects.all()) <= 6


def _until(holds: Callable[[], bool], *, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_no_key_is_in_any_log_at_debug_or_in_the_databases_file(
    transactional_restaurant: Restaurant, tmp_path: Path
) -> None:
    with serving(tmp_path, SERVED_DEBUG="1") as server:
        for bill_id in ("42", "broken", "unknown"):
            send(bill(server, transactional_restaurant, bill_id))
        send(_forged(address(transactional_restaurant, origin=server.origin), "", list(signatures.SCHEMES)))

    log = server.log.read_text()
    assert "the till is broken" in log
    assert "INSERT INTO" in log
    book = Path(str(connection.settings_dict["NAME"]))
    written = b"".join(path.read_bytes() for path in book.parent.glob(f"{book.name}*"))
    assert (b"getBill" in written) is (connection.vendor == "sqlite")
    for secret in (KEY.reveal(), OTHER_KEY.reveal()):
        assert secret not in log
        assert secret.encode() not in written
        assert secret.encode().hex() not in log


def test_an_asgi_server_hears_the_same(transactional_restaurant: Restaurant, tmp_path: Path) -> None:
    with serving(tmp_path, asgi=True, SERVED_ASYNC="1") as server:
        url = address(transactional_restaurant, origin=server.origin)
        statuses = [
            send(delivery(url, "", list(signatures.SCHEMES)), chunked=chunked).status
            for delivery in (_good, _forged, _too_large)
            for chunked in (False, True)
        ]

    assert statuses == [200, 200, 401, 401, 413, 413]
