"""The story of one delivery."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

from django.contrib.auth.decorators import login_not_required
from django.db import OperationalError, connections, transaction
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.exceptions import APIException, MethodNotAllowed
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from django_qerko import events
from django_qerko.answers import write_error
from django_qerko.events import Event
from django_qerko.exceptions import Busy, Malformed, Rejection, TooLate
from django_qerko.handling import claiming
from django_qerko.models import WebhookEvent
from django_qerko.models.about import event_of
from django_qerko.models.kept import printable
from django_qerko.receiving import rejections
from django_qerko.receiving.authentication import CHALLENGE, Delivery, QerkoAuthentication

log: Final = logging.getLogger(__name__)


#: The body of a 202: there is nothing to say yet.
NOTED: Final = b"null"


class IgnoreAccept(BaseContentNegotiation):
    """Answers in JSON whatever the caller accepts: DRF would say 406 before it asked who is calling."""

    def select_parser(self, request: Request, parsers: Iterable[Any]) -> None:
        return None

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        renderer = next(iter(renderers))
        return renderer, renderer.media_type


class WebhookView(APIView):
    """Verifies a delivery, enters its event into the book, has it handled, and answers.

    Every policy of DRF is stated here, so that a host's ``REST_FRAMEWORK`` does not leak in.
    """

    http_method_names = ("post",)
    authentication_classes = (QerkoAuthentication,)
    permission_classes = ()
    throttle_classes = ()
    parser_classes = ()
    renderer_classes = (JSONRenderer,)
    content_negotiation_class = IgnoreAccept
    versioning_class = None
    metadata_class = None
    schema = None

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., HttpResponseBase]:  # type: ignore[override]
        """The view: CSRF-exempt as all of DRF's, without login, and outside every database's ``ATOMIC_REQUESTS``."""
        view = login_not_required(super().as_view(**initkwargs))
        for alias in connections:
            view = transaction.non_atomic_requests(using=alias)(view)
        return view

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        if request.method not in self.allowed_methods:
            raise MethodNotAllowed(str(request.method))
        super().initial(request, *args, **kwargs)

    def post(self, request: Request, *, event: str | None = None, **route: Any) -> HttpResponse:
        delivery = cast(Delivery, request.auth)
        with rejections.rejected_at(delivery.restaurant, delivery.body):
            said = events.read_event(delivery.document, named=event)
            record, is_new = _enter(delivery, said)
            was_promised = not is_new and record.promised_at is not None
            if is_new:
                record = claiming.go_on(record, said)
            else:
                said = _first_said(record, delivery, said)
                record = claiming.take_up(record, said, deadline_at=delivery.deadline_at)
        # Where 202 became due meanwhile, be it that a handler said LATER, the answer leaves through /reply alone.
        if record.is_promised or (record.promised_at is not None and not was_promised):
            return HttpResponse(NOTED, status=202, content_type="application/json")
        return HttpResponse(bytes(record.answer or b""), status=record.status, content_type="application/json")

    def handle_exception(self, exc: Exception) -> HttpResponse:  # type: ignore[override]
        match exc:
            case Rejection():
                return self._turn_away(exc)
            case TooLate():
                return _error(410, "TIME_LIMIT_EXPIRED", "The deadline of this event has passed.")
            case Busy():
                log.warning("Answered 503: %s", exc)
                return _error(503, None, "Not now. Please deliver it again.")
            case APIException():
                return _error(exc.status_code, None, "The request was not understood.", Allow="POST")
            case OperationalError():
                log.error("Answered 503: the database did not do its work", exc_info=exc)
                return _error(503, None, "Not now. Please deliver it again.")
        log.error("Answered 500: a delivery could not be taken in", exc_info=exc)
        return _error(500, None, "The event could not be taken in.")

    def _turn_away(self, rejection: Rejection) -> HttpResponse:
        log.warning(
            "Turned away with %d, %s, at the door of %s: %s",
            rejection.status,
            rejection.reason,
            rejection.restaurant or "nobody",
            printable(rejection.finding),
        )
        rejections.turned_away(self.request, rejection)
        headers = {"WWW-Authenticate": CHALLENGE} if rejection.status == 401 else {}
        return _error(rejection.status, rejection.code, rejection.public_message, **headers)


def _enter(delivery: Delivery, event: Event) -> tuple[WebhookEvent, bool]:
    """Enter the event into the book: claimed by us, or stale where it is a question that came too late."""
    record = WebhookEvent(
        restaurant=delivery.restaurant,
        event_id=event.id,
        name=event.name,
        bill_id=getattr(event, "bill_id", None),
        payment_id=getattr(event, "payment_id", None),
        payload=delivery.body,
        headers=delivery.headers,
        received_at=delivery.received_at,
        deadline_at=delivery.deadline_at,
    )
    claiming.begin(record, event)
    return WebhookEvent.objects.enter(record)


def _first_said(record: WebhookEvent, delivery: Delivery, event: Event) -> Event:
    """The same id is the same event, as it was said first; other data is worth a warning.

    Raises Malformed for another name, which is somebody's mistake.
    """
    identity, name, known_as = (printable(text) for text in (event.id, event.name, record.name))
    if record.name != event.name:
        log.error("Event %s was delivered as %s, and is known as %s", identity, name, known_as)
        raise Malformed("event_renamed", f"The event's id is known under another name, {known_as}")
    if bytes(record.payload) == delivery.body:
        return event
    try:
        first = event_of(record)
    except Malformed:
        # An older version took in what this one cannot read, and here it comes in a way that it can.
        return event
    if first.data != event.data:
        log.warning("Event %s (%s) was delivered again with other data; the first counts", identity, name)
    return first


def _error(status: int, code: str | None, message: str, **headers: str) -> HttpResponse:
    return HttpResponse(write_error(code, message), status=status, content_type="application/json", headers=headers)
