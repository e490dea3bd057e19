# The tables of the pub.

from decimal import Decimal

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import django_qerko.models.identifier


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Order",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("opened_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("closed_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="Table",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("code", models.CharField(max_length=16, unique=True)),
                ("name", models.CharField(max_length=100)),
                ("area", models.CharField(blank=True, max_length=100)),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="TakenKey",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("restaurant", models.UUIDField(unique=True)),
                ("digest", models.CharField(max_length=64)),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="IssuedReceipt",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("payment_id", django_qerko.models.identifier.IdentifierField(max_length=128, unique=True)),
                ("content", models.JSONField(default=dict)),
                ("issued_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("voided_at", models.DateTimeField(null=True)),
                (
                    "order",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="receipts", to="pub.order"
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.AddField(
            model_name="order",
            name="table",
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="orders", to="pub.table"),
        ),
        migrations.CreateModel(
            name="Line",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=200)),
                ("quantity", models.DecimalField(decimal_places=3, max_digits=9)),
                ("paid_quantity", models.DecimalField(decimal_places=3, default=Decimal("0"), max_digits=9)),
                ("smallest_part", models.DecimalField(decimal_places=3, default=Decimal("1"), max_digits=9)),
                ("price", models.DecimalField(decimal_places=2, max_digits=9)),
                ("vat_rate", models.DecimalField(decimal_places=2, max_digits=4, verbose_name="VAT rate")),
                (
                    "order",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="lines", to="pub.order"
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("quantity__gt", 0), ("smallest_part__gt", 0)),
                        name="pub_line_is_of_something",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("paid_quantity__gte", 0), ("paid_quantity__lte", models.F("quantity"))),
                        name="pub_line_paid_at_most_once",
                    ),
                    models.CheckConstraint(condition=models.Q(("price__gte", 0)), name="pub_line_price"),
                    models.CheckConstraint(
                        condition=models.Q(("vat_rate__gte", 0), ("vat_rate__lt", 100)), name="pub_line_vat_rate"
                    ),
                ],
            },
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(fields=["table", "closed_at"], name="pub_order_open"),
        ),
    ]
