"""Read an answer as Qerko does: its structure must hold, and members that nobody knows are passed over."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, TypeAlias, cast

from django_qerko.answers import Bill, Receipt, Table

Structure: TypeAlias = Bill | Receipt | Table
_Where: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What answers an event: one structure, a list of them, or ``null`` (protocol section 4, D)."""

    structure: type[Structure] | None = None
    is_list: bool = False

    def __str__(self) -> str:
        name = self.structure.__name__ if self.structure else "null"
        return f"a list of {name}" if self.is_list else name


#: An event that is not here may be answered with any JSON.
WANTED: Final[Mapping[str, Wanted]] = {
    "getTableList": Wanted(structure=Table, is_list=True),
    "getTableContents": Wanted(structure=Bill, is_list=True),
    "getBill": Wanted(structure=Bill),
    "searchBills": Wanted(structure=Bill, is_list=True),
    "paymentStart": Wanted(),
    "paymentProcessed": Wanted(structure=Receipt),
    "paymentClosed": Wanted(),
    "getPostponedReceipt": Wanted(structure=Receipt),
}

_AMOUNTS: Final = {"base", "finalPrice", "minQuantity", "percent", "price", "quantity", "rate", "tax"}
_OPAQUE: Final = {"additionalData", "fiscalInfo", "upcharges"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The structures that could be read, and what is wrong with the others, each with its place."""

    structures: tuple[Structure, ...] = ()
    faults: tuple[str, ...] = ()


def read(event: str, answer: Any) -> Reading:
    """Read the decoded JSON that answered an event."""
    wanted = WANTED.get(event)
    if wanted is None:
        return Reading()
    if wanted.structure is None:
        return Reading(faults=() if answer is None else (f"the answer to {event} is null, not {_kind(answer)}",))
    if wanted.is_list != isinstance(answer, list):
        return Reading(faults=(f"the answer to {event} is {wanted}, not {_kind(answer)}",))
    return _read_members(wanted.structure, [*enumerate(answer)] if wanted.is_list else [(None, answer)])


def numbers(answer: Any, where: _Where = ()) -> Iterator[str]:
    """The places of amounts that are JSON numbers, and ought to be decimal strings (protocol section 5, C and D)."""
    members: Sequence[tuple[str | int, Any]] = []
    if isinstance(answer, dict):
        members = [member for member in answer.items() if member[0] not in _OPAQUE]
    elif isinstance(answer, list):
        members = [*enumerate(answer)]
    for name, value in members:
        if name in _AMOUNTS and isinstance(value, int | Decimal) and not isinstance(value, bool):
            yield _place((*where, name))
        else:
            yield from numbers(value, (*where, name))


def _read_members(structure: type[Structure], members: Sequence[tuple[int | None, Any]]) -> Reading:
    structures: list[Structure] = []
    faults: list[str] = []
    for index, value in members:
        try:
            structures.append(_validated(structure, value))
        except (RecursionError, ValueError) as error:
            faults += _faults(error, () if index is None else (index,))
    return Reading(structures=tuple(structures), faults=tuple(faults))


def _validated(structure: type[Structure], value: Any) -> Structure:
    """The value as one of our structures. Raises ValueError where it is none, unknown members apart."""
    try:
        return structure.model_validate(value, strict=True, by_alias=True, by_name=False)
    except ValueError as error:
        unknown = [fault["loc"] for fault in _errors(error) if fault["type"] == "extra_forbidden"]
        if not unknown:
            raise
        return structure.model_validate(_without(value, unknown), strict=True, by_alias=True, by_name=False)


def _without(value: Any, places: Sequence[_Where]) -> Any:
    pruned = copy.deepcopy(value)
    for *way, name in places:
        holder = pruned
        for step in way:
            holder = holder[step]
        holder.pop(name, None)
    return pruned


def _faults(error: Exception, where: _Where) -> list[str]:
    if isinstance(error, RecursionError):
        return [f"{_place(where) or 'the answer'}: nested too deeply"]
    return [f"{_place((*where, *fault['loc'])) or 'the answer'}: {fault['msg']}" for fault in _errors(error)]


def _errors(error: Exception) -> list[dict[str, Any]]:
    """The single errors of a pydantic ValidationError, without the values that are wrong."""
    found = cast("Any", error).errors(include_url=False, include_input=False, include_context=False)
    return cast("list[dict[str, Any]]", found)


def _place(where: _Where) -> str:
    return ".".join(map(str, where))


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case dict():
            return "an object"
        case list():
            return "a list"
        case str():
            return "a string"
    return "a number"
