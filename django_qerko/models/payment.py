"""A payment, from the guest's first tap to its end, and each step on the way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Self

from django.db import models, router, transaction
from django.db.models import F, Q
from django.utils import timezone

from django_qerko import answers, events
from django_qerko.exceptions import StepRefused
from django_qerko.models import quantities
from django_qerko.models.amount import AmountField
from django_qerko.models.bill import Bill
from django_qerko.models.event import WebhookEvent
from django_qerko.models.identifier import IdentifierField
from django_qerko.models.kept import KeptField, plain, printable
from django_qerko.models.quantities import Quantities
from django_qerko.models.restaurant import Restaurant

#: The only state of Qerko's that means success (protocol section 4, D).
SUCCESS: Final = "PAID"
#: Of a state of Qerko's; the event keeps it whole.
STATE_CHARACTERS: Final = 255
#: A receipt with this delivery type is no receipt yet (protocol section 4, D).
POSTPONED: Final = "POSTPONED"


class PaymentState(models.TextChoices):
    """The states of a payment; every final state of Qerko's but ``PAID`` is ``cancelled``."""

    STARTED = "started"
    PROCESSED = "processed"
    PAID = "paid"
    CANCELLED = "cancelled"


#: The states in which money may still move.
IN_PROGRESS: Final = (PaymentState.STARTED, PaymentState.PROCESSED)

#: From which states a payment may come into which. ``PAID`` wins: what was cancelled may turn out to be paid
#: (protocol section 5, A).
STEPS: Final = {
    PaymentState.PROCESSED: (PaymentState.STARTED,),
    PaymentState.PAID: (PaymentState.STARTED, PaymentState.PROCESSED, PaymentState.CANCELLED),
    PaymentState.CANCELLED: (PaymentState.STARTED, PaymentState.PROCESSED),
}


class PaymentQuerySet(models.QuerySet["Payment"]):
    def in_progress(self) -> Self:
        return self.filter(state__in=IN_PROGRESS)

    def paid(self) -> Self:
        return self.filter(state=PaymentState.PAID)

    def cancelled(self) -> Self:
        return self.filter(state=PaymentState.CANCELLED)

    def alarming(self) -> Self:
        """Payments that a person must look at."""
        return self.exclude(alarm="")

    def contradictory(self) -> Self:
        """Payments whose amounts do not fit their bill."""
        return self.exclude(contradictions=[])

    def begun_since(self, moment: datetime) -> Self:
        return self.filter(created_at__gte=moment)

    def begun_before(self, moment: datetime) -> Self:
        return self.filter(created_at__lt=moment)

    def to_be_asked_about(self, at: datetime) -> Self:
        """Payments in progress whose next question to Qerko is due."""
        return self.in_progress().filter(next_question_at__lte=at)

    def in_brief(self) -> Self:
        """Without what is large, and with restaurant and bill: for lists."""
        return self.select_related("restaurant", "bill").defer(
            *("payload", "receipt", "stood", "additional_data", "discount"),
            *(f"bill__{name}" for name in ("snapshot", "paid_then", "stood")),
        )

    def with_history(self) -> Self:
        """With every step, and the event that caused it."""
        return self.prefetch_related(models.Prefetch("steps", PaymentStep.objects.with_events()))

    def known(self, restaurant: Restaurant, payment_id: str) -> Payment | None:
        """Our row of a payment, its bill with it."""
        return self.select_related("bill").filter(restaurant=restaurant, payment_id=payment_id).first()

    def held(self, restaurant: Restaurant, payment_id: str) -> Payment | None:
        """Our row of a payment and that of its bill, locked until the transaction is over: the bill always first."""
        found = self.filter(restaurant=restaurant, payment_id=payment_id).values_list("pk", "bill_id").first()
        if found is None:
            return None
        bill = Bill.objects.using(self.db).select_for_update().get(pk=found[1])
        payment = self.select_for_update().get(pk=found[0])
        payment.restaurant, payment.bill = restaurant, bill
        return payment

    def occupying(self, bill: Bill) -> Payment | None:
        """The payment in progress on a bill that is held."""
        payment = self.select_for_update().filter(in_progress_on=bill).first()
        if payment is not None:
            payment.bill = bill
        return payment

    def start(
        self,
        restaurant: Restaurant,
        told: events.Payment,
        *,
        bill: Bill,
        payload: Any,
        at: datetime,
        ask_at: datetime,
        because_of: int | None = None,
        contradictions: Sequence[Any] = (),
    ) -> Payment:
        """Enter a payment that begins on a bill that is held, and lock its items there.

        Qerko is asked about it at ``ask_at``, if it is still in progress then.
        """
        payment = self._enter(
            restaurant,
            told,
            bill=bill,
            payload=payload,
            at=at,
            because_of=because_of,
            state=PaymentState.STARTED,
            in_progress_on=bill,
            next_question_at=ask_at,
            contradictions=list(contradictions),
        )
        bill.lock(told.quantities)
        return payment

    def refuse(
        self,
        restaurant: Restaurant,
        told: events.Payment,
        *,
        bill: Bill,
        payload: Any,
        at: datetime,
        reason: str,
        because_of: int | None = None,
        contradictions: Sequence[Any] = (),
    ) -> Payment:
        """Enter a payment that did not come to begin: it is cancelled, and nothing is locked."""
        return self._enter(
            restaurant,
            told,
            bill=bill,
            payload=payload,
            at=at,
            because_of=because_of,
            state=PaymentState.CANCELLED,
            reason=reason,
            contradictions=list(contradictions),
        )

    def _enter(
        self,
        restaurant: Restaurant,
        told: events.Payment,
        *,
        bill: Bill,
        payload: Any,
        at: datetime,
        because_of: int | None,
        **members: Any,
    ) -> Payment:
        payment = self.create(
            restaurant=restaurant,
            payment_id=told.id,
            bill=bill,
            customer_id=told.customer_id,
            currency=told.currency,
            discount=_discount(told),
            tip_brutto=told.tip_brutto,
            tip_netto=told.tip_netto,
            additional_data=plain(told.additional_data),
            payload=plain(payload),
            stood=_stood(bill, told),
            created_at=at,
            changed_at=at,
            **members,
        )
        PaymentItem.objects.using(self.db).bulk_create(_items(payment, told.items))
        PaymentPart.objects.using(self.db).bulk_create(_parts(payment, told.parts))
        payment.note_step("", at=at, because_of=because_of, reason=payment.reason)
        return payment


class Payment(models.Model):
    """One payment of one restaurant, as Qerko told of it.

    Its verbs want the rows of payment and bill held (``PaymentQuerySet.held``), and raise StepRefused for a step that
    is not allowed. ``because_of`` is the key of the event that caused a step.
    """

    State = PaymentState

    id = models.BigAutoField(primary_key=True)
    restaurant = models.ForeignKey(Restaurant, on_delete=models.PROTECT, related_name="payments")
    payment_id = IdentifierField(max_length=128)
    bill = models.ForeignKey(Bill, on_delete=models.PROTECT, related_name="payments")
    #: The same bill while the payment is in progress, and unique: never two at once (protocol section 5, D). A column,
    #: because MariaDB has no constraint with a condition.
    in_progress_on = models.OneToOneField(
        Bill, on_delete=models.PROTECT, null=True, related_name="payment_in_progress", editable=False
    )
    customer_id = IdentifierField(max_length=128, null=True)
    currency = models.CharField(max_length=3)
    state = models.CharField(max_length=9, choices=PaymentState, default=PaymentState.STARTED)
    #: The final state in Qerko's own word, as it came.
    final_state = models.CharField(max_length=STATE_CHARACTERS, default="", blank=True)
    #: Why it was cancelled, where we know.
    reason = models.TextField(default="", blank=True)
    #: What a person must look at: money moved that should not have.
    alarm = models.TextField(default="", blank=True)
    #: What of it does not fit its bill: ``what``, ``expected`` and ``told``.
    contradictions = models.JSONField(default=list)
    discount = KeptField(null=True)
    tip_brutto = AmountField(null=True)
    tip_netto = AmountField(null=True)
    additional_data = KeptField(null=True)
    #: The payment as ``paymentStart`` told it; its decimals are strings.
    payload = KeptField()
    receipt = KeptField(null=True)
    #: How much of its items stood on the bill when it began, paid and unpaid; empty where Qerko was told of none.
    stood = models.JSONField(default=dict)
    #: When Qerko is asked about it next, and how often it was; a payment that has ended is not asked about.
    next_question_at = models.DateTimeField(null=True, db_index=True)
    questions = models.PositiveIntegerField(default=0)
    #: When another payment wanted to begin on the same bill, which says that news of this one was missed.
    newer_start_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    changed_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = PaymentQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["restaurant", "payment_id"], name="qerko_payment_identity"),
            models.CheckConstraint(condition=~Q(payment_id=""), name="qerko_payment_has_id"),
            models.CheckConstraint(condition=Q(state__in=PaymentState.values), name="qerko_payment_state"),
            models.CheckConstraint(
                # Not null by name: a condition that is neither true nor false is none to a database.
                condition=Q(state__in=IN_PROGRESS, in_progress_on__isnull=False, in_progress_on=F("bill"))
                | (~Q(state__in=IN_PROGRESS) & Q(in_progress_on=None)),
                name="qerko_payment_in_progress_on_its_bill",
            ),
            models.CheckConstraint(
                condition=Q(next_question_at=None) | Q(state__in=IN_PROGRESS), name="qerko_payment_asked_in_progress"
            ),
            models.CheckConstraint(
                condition=(Q(tip_brutto=None) | Q(tip_brutto__gte=0)) & (Q(tip_netto=None) | Q(tip_netto__gte=0)),
                name="qerko_payment_tips_not_negative",
            ),
        ]

    def __str__(self) -> str:
        return printable(self.payment_id)

    # -- What it is --------------------------------------------------------------------------------

    @property
    def is_in_progress(self) -> bool:
        return self.state in IN_PROGRESS

    @property
    def is_paid(self) -> bool:
        return self.state == PaymentState.PAID

    @property
    def is_cancelled(self) -> bool:
        return self.state == PaymentState.CANCELLED

    @property
    def is_closed(self) -> bool:
        """Whether Qerko said how it ended."""
        return self.final_state != "" or self.is_paid

    @property
    def quantities(self) -> dict[str, Decimal]:
        """How much of which item it pays."""
        return quantities.add_up((item.item_id, item.quantity) for item in self._items)

    @property
    def has_receipt(self) -> bool:
        """Whether its receipt is there, and not only promised."""
        return self.receipt is not None and self.receipt.get("receiptDeliveryType") != POSTPONED

    @property
    def given_receipt(self) -> answers.Receipt | None:
        """The receipt that was given last, be it postponed."""
        return None if self.receipt is None else answers.Receipt.model_validate(self.receipt)

    def is_same_as(self, told: events.Payment) -> bool:
        """Whether Qerko tells of the same payment once more: bill, guest, money and items."""
        return (
            self.bill.bill_id == told.bill_id
            and self.customer_id == told.customer_id
            and (self.currency, self.tip_brutto, self.tip_netto) == (told.currency, told.tip_brutto, told.tip_netto)
            and self.discount == _discount(told)
            and [(item.item_id, item.quantity, item.price) for item in self._items]
            == [(item.id, item.quantity, item.price) for item in told.items]
            and [part.total for part in self._parts] == [part.total for part in told.parts]
        )

    def look_again(self) -> Self:
        """Read again what a handler may have changed, be it through another object of the same row."""
        fields = ["state", "receipt", "in_progress_on", "final_state", "reason"]
        self.refresh_from_db(using=self._state.db, fields=fields)
        return self

    # -- What happens to it --------------------------------------------------------------------------

    def process(self, receipt: answers.Receipt, *, at: datetime, because_of: int | None = None) -> None:
        """The money moved, and this receipt was given."""
        self._step(PaymentState.PROCESSED, at=at, because_of=because_of, receipt=receipt.as_json())

    def keep_receipt(self, receipt: answers.Receipt) -> None:
        """A receipt was given that goes with no step: late, or in place of a postponed one."""
        self._change(self._row, receipt=receipt.as_json())

    def provide_receipt(self, receipt: answers.Receipt) -> None:
        """Hand in a receipt that was postponed: ``getPostponedReceipt`` is answered with it from now on.

        May be called from anywhere, and again with the same receipt. Raises StepRefused where the payment has another
        receipt already, or came to nothing.
        """
        with transaction.atomic(using=self._row.db):
            kept = self._row.select_for_update().get()
            if kept.is_cancelled:
                raise StepRefused(f"Payment {self} was cancelled, and needs no receipt.")
            if kept.has_receipt and kept.receipt != receipt.as_json():
                raise StepRefused(f"Payment {self} has another receipt already.")
            self._change(self._row, receipt=receipt.as_json())

    def mark_paid(self, *, at: datetime, because_of: int | None = None, reason: str = "") -> list[str]:
        """Qerko says that the money moved, whatever was said before; gives what a person must look at."""
        before, paid = self.state, self.quantities
        self._step(
            PaymentState.PAID,
            at=at,
            because_of=because_of,
            reason=reason,
            final_state=SUCCESS,
            in_progress_on=None,
            next_question_at=None,
        )
        alarms = [printable(alarm) for alarm in self._alarms(before, paid)]
        if alarms:
            self._change(self._row, alarm="\n".join(alarms))
        if before in IN_PROGRESS:
            self.bill.release()
        self.bill.settle(paid, stood=self._stood_now(), at=at)
        return alarms

    def cancel(self, *, at: datetime, reason: str, because_of: int | None = None, final_state: str = "") -> None:
        """It came to nothing, and its items may be paid by others."""
        self._step(
            PaymentState.CANCELLED,
            at=at,
            because_of=because_of,
            reason=reason,
            final_state=final_state[:STATE_CHARACTERS],
            in_progress_on=None,
            next_question_at=None,
        )
        self.bill.release()

    def note_end(self, final_state: str) -> None:
        """Qerko says how it ended, and it had ended here before."""
        self._change(self._row.filter(final_state=""), final_state=final_state[:STATE_CHARACTERS])

    def note_newer_start(self, *, at: datetime) -> None:
        """Another payment wants to begin on its bill: Qerko is to be asked about this one at once."""
        self._change(
            self._row.in_progress(),
            newer_start_at=self.newer_start_at or at,
            next_question_at=at,
        )

    def claim_question(self, *, next_at: datetime) -> bool:
        """Take the next question to Qerko; ``False`` where somebody else has it, or there is nothing to ask."""
        return self._change(
            self._row.in_progress().filter(questions=self.questions),
            questions=self.questions + 1,
            next_question_at=next_at,
        )

    def hasten_question(self, *, at: datetime) -> bool:
        """Have Qerko asked at this moment, unless it is asked earlier anyway."""
        return self._change(self._row.in_progress().filter(next_question_at__gt=at), next_question_at=at)

    def note_step(self, before: str, *, at: datetime, because_of: int | None, reason: str) -> None:
        """Write down that it came into its present state."""
        PaymentStep.objects.using(self._state.db).create(
            payment=self, before=before, state=self.state, at=at, event_id=because_of, reason=reason
        )

    def _step(
        self, state: PaymentState, *, at: datetime, because_of: int | None, reason: str = "", **changes: Any
    ) -> None:
        """One ``UPDATE`` that names the states it may start from, and its line in the history."""
        before = self.state
        row = self._row.filter(state__in=STEPS[state]).filter(state=before)
        if reason:
            changes["reason"] = reason
        if not self._change(row, state=state, changed_at=at, **changes):
            raise StepRefused(f"Payment {self} is {before} and cannot become {state.value}.")
        self.note_step(before, at=at, because_of=because_of, reason=reason)

    def _alarms(self, before: str, paid: Quantities) -> Iterable[str]:
        """What should not have happened, if it is paid now (protocol section 5, A)."""
        if before == PaymentState.CANCELLED:
            yield f"It was cancelled before ({self.reason or 'no reason is known'}), and is paid after all."
            if self.bill.locked:
                yield "Another payment is in progress on the same bill."
        ever = quantities.plus(self.bill.paid_quantities, paid)
        for item, stood in quantities.read(self.stood).items():
            if ever.get(item, Decimal(0)) > stood:
                are, were = quantities.shown(ever[item]), quantities.shown(stood)
                yield f"Of item {item}, {are} are paid, and {were} stood on the bill."

    def _stood_now(self) -> dict[str, str]:
        """How much of its items stood on the bill, as the latest paid payment of each saw it."""
        stood: dict[str, str] = {}
        # Read for update, because a plain read may be older than the lock on the bill.
        payments = Payment.objects.using(self._state.db).select_for_update()
        for payment in payments.filter(bill=self.bill_id).paid().order_by("created_at", "pk").only("stood"):
            stood |= payment.stood
        return {item: stood[item] for item in self.stood}

    @property
    def _items(self) -> models.QuerySet[PaymentItem]:
        """Where the payment was read: a replica may not know them yet. What was prefetched is not read again."""
        known = getattr(self, "_prefetched_objects_cache", {})
        return self.items.all() if "items" in known else PaymentItem.objects.using(self._state.db).filter(payment=self)

    @property
    def _parts(self) -> models.QuerySet[PaymentPart]:
        return PaymentPart.objects.using(self._state.db).filter(payment=self)

    @property
    def _row(self) -> PaymentQuerySet:
        """Where payments are written: whoever hands in a receipt may have read this one from a replica."""
        return Payment.objects.using(router.db_for_write(Payment)).filter(pk=self.pk)

    def _change(self, row: PaymentQuerySet, **changes: Any) -> bool:
        if not row.update(**changes):
            return False
        for name, value in changes.items():
            setattr(self, name, value)
        return True


class PaymentItem(models.Model):
    """One item of a payment, in the quantity that is paid, in Qerko's order."""

    id = models.BigAutoField(primary_key=True)
    payment = models.ForeignKey(Payment, on_delete=models.CASCADE, related_name="items")
    position = models.PositiveIntegerField()
    item_id = IdentifierField(max_length=128)
    name = models.TextField(default="", blank=True)
    quantity = AmountField()
    price = AmountField(null=True)
    additional_data = KeptField(null=True)

    class Meta:
        ordering = ["payment_id", "position"]
        constraints = [
            models.UniqueConstraint(fields=["payment", "position"], name="qerko_payment_item_order"),
            models.CheckConstraint(condition=~Q(item_id=""), name="qerko_payment_item_has_id"),
            models.CheckConstraint(condition=Q(quantity__gte=0), name="qerko_payment_item_quantity"),
        ]

    def __str__(self) -> str:
        return f"{quantities.shown(self.quantity)} × {self.name or self.item_id}"


class PaymentPart(models.Model):
    """A part of the sum, and who moved it."""

    id = models.BigAutoField(primary_key=True)
    payment = models.ForeignKey(Payment, on_delete=models.CASCADE, related_name="parts")
    position = models.PositiveIntegerField()
    total = AmountField()
    provider_id = models.TextField(default="", blank=True)
    provider_name = models.TextField(default="", blank=True)
    provider_type = models.TextField(default="", blank=True)

    class Meta:
        ordering = ["payment_id", "position"]
        constraints = [
            models.UniqueConstraint(fields=["payment", "position"], name="qerko_payment_part_order"),
            models.CheckConstraint(condition=Q(total__gte=0), name="qerko_payment_part_total"),
        ]

    def __str__(self) -> str:
        return f"{quantities.shown(self.total)} through {self.provider_name or self.provider_id or 'nobody named'}"


class PaymentStepQuerySet(models.QuerySet["PaymentStep"]):
    def with_events(self) -> Self:
        """With the events that caused them, and without what is large in these."""
        return self.select_related("event").defer(
            *(f"event__{name}" for name in ("payload", "headers", "answer", "error"))
        )

    def with_payments(self) -> Self:
        """With what names their payments."""
        return self.select_related("payment").only(
            *("payment__payment_id", "before", "state", "at", "event", "reason"),
        )


class PaymentStep(models.Model):
    """One step of a payment: when, from where to where, by which event, and why. None is taken twice."""

    id = models.BigAutoField(primary_key=True)
    payment = models.ForeignKey(Payment, on_delete=models.CASCADE, related_name="steps")
    #: Empty for the first.
    before = models.CharField(max_length=9, default="", blank=True)
    state = models.CharField(max_length=9, choices=PaymentState)
    at = models.DateTimeField()
    #: Without the database's constraint: MariaDB and MySQL would lock the event's row for as long as its handler takes,
    #: and a redelivery, which is to hear 202 at once, would wait for it or be the victim of a deadlock.
    event = models.ForeignKey(
        WebhookEvent, on_delete=models.PROTECT, null=True, related_name="payment_steps", db_constraint=False
    )
    reason = models.TextField(default="", blank=True)

    objects = PaymentStepQuerySet.as_manager()

    class Meta:
        ordering = ["payment_id", "id"]
        constraints = [
            models.UniqueConstraint(fields=["payment", "state"], name="qerko_payment_step_once"),
            models.CheckConstraint(
                condition=Q(state__in=PaymentState.values) & (Q(before="") | Q(before__in=PaymentState.values)),
                name="qerko_payment_step_states",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.before or 'new'} → {self.state}"


def _items(payment: Payment, items: Iterable[events.Item]) -> list[PaymentItem]:
    return [
        PaymentItem(
            payment=payment,
            position=position,
            item_id=item.id,
            name=item.name or "",
            quantity=item.quantity,
            price=item.price,
            additional_data=plain(item.additional_data),
        )
        for position, item in enumerate(items)
    ]


def _parts(payment: Payment, parts: Iterable[events.Part]) -> list[PaymentPart]:
    providers = ((part, part.provider or events.Provider()) for part in parts)
    return [
        PaymentPart(
            payment=payment,
            position=position,
            total=part.total,
            provider_id=provider.id or "",
            provider_name=provider.name or "",
            provider_type=provider.type or "",
        )
        for position, (part, provider) in enumerate(providers)
    ]


def _discount(told: events.Payment) -> Any:
    return told.discount and plain(told.discount.model_dump())


def _stood(bill: Bill, told: events.Payment) -> dict[str, str]:
    """How much of these items stands on the bill, paid and unpaid, as far as Qerko was told."""
    if (left := bill.left) is None:
        return {}
    stands = quantities.plus(left, bill.paid_quantities)
    return {item.id: format(stands.get(item.id, Decimal(0)), "f") for item in told.items}
