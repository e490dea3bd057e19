"""What the pub keeps."""

from __future__ import annotations

from example_project.pub.models.key import TakenKey
from example_project.pub.models.ordering import CURRENCY, PLACES, Line, Order, Table, in_crowns
from example_project.pub.models.receipt import IssuedReceipt

__all__ = ["CURRENCY", "PLACES", "IssuedReceipt", "Line", "Order", "Table", "TakenKey", "in_crowns"]
