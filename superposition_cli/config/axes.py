"""Sweep axes: how they are written, how long they are, what their items are.

Lengths are computed with integers; items are computed one at a time, so that a grid of
10^9 cells costs nothing until somebody walks it.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag, model_validator

from superposition_cli.config import marks
from superposition_cli.config.complaints import (
    Complaint,
    Strict,
    key_hint,
    models_in,
    name_hint,
    refuse,
)
from superposition_cli.config.marks import Part
from superposition_cli.config.misfits import VECTORS
from superposition_cli.config.sections import PAIR
from superposition_cli.config.settings import Setting
from superposition_cli.config.vectors import (
    FORMS,
    Positive,
    arithmetic_mean,
    complement,
    geometric_mean,
    is_entry,
    with_entry,
)

MAX_LENGTH = 10**12
Count = Annotated[int, Field(ge=1, le=MAX_LENGTH)]
Bounded = Annotated[int, Field(ge=-MAX_LENGTH, le=MAX_LENGTH)]

NOT_AN_AXIS = (
    "needs a list, or a mapping with values, linspace or geomspace (start, stop and num) or range "
    "(start and stop)"
)
COUNTED = {"num": f"is required: an axis {NOT_AN_AXIS}"}


class Values(Strict):
    """The values themselves: numbers, words or lists."""

    values: Annotated[tuple[Any, ...], Field(strict=False, min_length=1)]


class Steps(Strict):
    """`num` numbers from start to stop, both included."""

    said: ClassVar[Mapping[str, str]] = COUNTED
    start: float
    stop: float
    num: Count


class Ratios(Strict):
    """`num` positive numbers from start to stop, both included."""

    said: ClassVar[Mapping[str, str]] = COUNTED
    start: Positive
    stop: Positive
    num: Count


class Integers(Strict):
    """Whole numbers from start, `step` apart, before stop."""

    start: Bounded
    stop: Bounded
    step: Bounded = 1

    @model_validator(mode="after")
    def _not_empty(self) -> "Integers":
        if self.step == 0:
            refuse([Complaint(("step",), "must not be 0")])
        if len(range(self.start, self.stop, self.step)) == 0:
            refuse([Complaint((), "is empty: stop is not beyond start")])
        return self


class Linspace(Strict):
    """Equally spaced numbers."""

    linspace: Steps


class Logspace(Strict):
    """Numbers in equal ratio, written `geomspace`."""

    geomspace: Ratios


class Range(Strict):
    """Whole numbers, as Python's `range`."""

    range: Integers


def _form(value: object) -> str | None:
    if isinstance(value, BaseModel):
        return f"<{type(value).__name__}>"
    if isinstance(value, list | tuple):
        return "<Values>"
    if not isinstance(value, dict):
        return None
    return next((f"<{AXIS_FORMS[key].__name__}>" for key in value if key in AXIS_FORMS), None)


def _listed(value: object) -> object:
    return {"values": value} if isinstance(value, list | tuple) else value


def _with_a_form(value: object) -> object:
    """Say of a mapping that is no axis which forms there are, and what it may be."""
    if isinstance(value, dict) and value and _form(value) is None:
        key = next(iter(value))
        if key in (*FORMS, "base"):
            refuse([Complaint((key,), f"is a form of a vector: an axis {NOT_AN_AXIS}")])
        why = f"is no form of an axis, which {NOT_AN_AXIS}" + key_hint(key, AXIS_FORMS)
        refuse([Complaint((key,), why)])
    return value


Tagged = Annotated[
    Annotated[
        Values, BeforeValidator(_listed, json_schema_input_type=Values | list), Tag("<Values>")
    ]
    | Annotated[Linspace, Tag("<Linspace>")]
    | Annotated[Logspace, Tag("<Logspace>")]
    | Annotated[Range, Tag("<Range>")],
    Discriminator(_form, custom_error_type="not_an_axis", custom_error_message=NOT_AN_AXIS),
]
AXIS_FORMS = {key: form for form in models_in(Tagged) for key in form.model_fields}
Form = Annotated[Tagged, BeforeValidator(_with_a_form)]


def length(axis: Form) -> int:
    """Return how many items an axis has, without listing them."""
    if isinstance(axis, Values):
        return len(axis.values)
    if isinstance(axis, Range):
        return len(range(axis.range.start, axis.range.stop, axis.range.step))
    return axis.linspace.num if isinstance(axis, Linspace) else axis.geomspace.num


def item(axis: Form, i: int) -> object:
    """Return item i of an axis; between exact ends, numbers are rounded to 12 digits."""
    if isinstance(axis, Values):
        return axis.values[i]
    if isinstance(axis, Range):
        return axis.range.start + i * axis.range.step
    if isinstance(axis, Logspace):
        return geometric_mean(axis.geomspace.start, axis.geomspace.stop, i, axis.geomspace.num)
    return arithmetic_mean(axis.linspace.start, axis.linspace.stop, i, axis.linspace.num)


class Axis(NamedTuple):
    """One direction of the grid: a parameter, or several that move together."""

    names: tuple[str, ...]
    forms: tuple[Form, ...]

    @property
    def length(self) -> int:
        """How many steps the direction has."""
        return length(self.forms[0])

    def item(self, i: int) -> tuple[object, ...]:
        """Return the values of the parameters at step i, in the order of `names`."""
        return tuple(item(form, i) for form in self.forms)


MARKS = {".".join(place): {mark.part for mark in own} for place, own in marks.fields(Setting)}
NOT_SWEPT = [name for name, parts in MARKS.items() if parts == {Part.PLAN}]
SWEPT = [name for name in MARKS if name not in NOT_SWEPT]


class Sweep(Strict):
    """The grid: parameters by dotted name, and which of them move together."""

    said: ClassVar[Mapping[str, str]] = dict.fromkeys(SWEPT, "is an axis: write it in parameters")
    method: Literal["grid"] = "grid"
    parameters: Annotated[dict[str, Form], Field(min_length=1)]
    zip: Annotated[
        tuple[Annotated[tuple[str, ...], Field(strict=False, min_length=2)], ...],
        Field(strict=False),
    ] = ()

    @model_validator(mode="after")
    def _sound(self) -> "Sweep":
        refuse([*self._bad_names(), *self._bad_groups()])
        return self

    def _bad_names(self) -> list[Complaint]:
        found = []
        for name in self.parameters:
            try:
                address(name)
            except ValueError as error:
                found.append(Complaint(("parameters", name), str(error)))
        both = [[n for n in self.parameters if n.startswith(f"data.{name}")] for name in PAIR]
        if all(both):
            why = f"and {both[0][0]} are one setting: sweep only one of them"
            found.append(Complaint(("parameters", both[1][0]), why))
        return found

    def _bad_groups(self) -> list[Complaint]:
        found, seen = [], set()
        for g, group in enumerate(self.zip):
            for i, name in enumerate(group):
                if name not in self.parameters:
                    why = f"{name!r} is not among the parameters" + name_hint(name, self.parameters)
                    found.append(Complaint(("zip", g, i), why))
                elif name in seen:
                    found.append(Complaint(("zip", g, i), f"{name!r} is already zipped"))
                seen.add(name)
            lengths = {n: length(self.parameters[n]) for n in group if n in self.parameters}
            if len(set(lengths.values())) > 1:
                counts = ", ".join(f"{name} has {count:,}" for name, count in lengths.items())
                found.append(Complaint(("zip", g), f"needs equal lengths: {counts}"))
        return found

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The directions of the grid as written, a group at the place of its first member."""
        group_of = {name: group for group in self.zip for name in group}
        groups = dict.fromkeys(group_of.get(name, (name,)) for name in self.parameters)
        return tuple(Axis(g, tuple(self.parameters[name] for name in g)) for g in groups)

    @property
    def n_cells(self) -> int:
        """The number of cells, counted without expanding anything."""
        return math.prod(axis.length for axis in self.axes)


def compiles(name: str) -> bool:
    """Say whether an axis of this name asks for a program for every value."""
    section, _, field = name.partition(".")
    setting = f"{section}.{field.partition('.')[0]}" if field else section
    return Part.SPEC in MARKS[setting]


@lru_cache(maxsize=4096)
def address(name: str) -> tuple[str, ...]:
    """Return the keys a dotted parameter name leads through; ValueError says why it cannot."""
    keys = tuple(name.split("."))
    if name in NOT_SWEPT:
        raise ValueError("is the same in every cell, so it cannot be an axis")
    if name in SWEPT:
        return keys
    if len(keys) == 3 and keys[0] == "data" and keys[1] in VECTORS:
        if is_entry(keys[2]):
            return keys
        raise ValueError(f"has no entry {keys[2][:40]!r}: use first, last or an index")
    raise ValueError("is not a setting that can be swept" + _swept_hint(name))


def _swept_hint(name: str) -> str:
    """The setting, or the entry of a vector, that a name may stand for."""
    vector, _, entry = name.rpartition(".")
    vectors = [f"data.{known}" for known in VECTORS]
    found = name_hint(vector, vectors, f".{entry}") if is_entry(entry) else ""
    return found or name_hint(name, SWEPT)


def assign(tree: Mapping[str, object], keys: tuple[str, ...], value: object) -> dict[str, object]:
    """Return a written configuration with one value replaced; the given one is untouched.

    Of sparsity and feature_probability, the one that is set replaces the other; an entry
    of a vector turns the rest of it into the base.
    """
    data = tree.get("data")
    if keys[0] != "data" or len(keys) < 2 or keys[1] not in VECTORS or not isinstance(data, dict):
        return edited(tree, keys, value)
    field, other = keys[1], PAIR.get(keys[1], "")
    if len(keys) == 2:
        return {**tree, "data": {**{k: v for k, v in data.items() if k != other}, field: value}}
    if len(keys) > 3 or not is_entry(keys[2]):
        return edited(tree, keys, value)
    if data.get(field) is None and data.get(other) is not None and complement(value) is not None:
        field, value = other, complement(value)
    return {**tree, "data": {**data, field: with_entry(data.get(field), keys[2], value)}}


def edited(tree: object, keys: tuple[str, ...], value: object) -> Any:
    """Return nested mappings and lists with the value at `keys` replaced."""
    if not keys:
        return value
    head, rest = keys[0], keys[1:]
    if isinstance(tree, list) and head.isdecimal() and int(head) < len(tree):
        return [edited(v, rest, value) if i == int(head) else v for i, v in enumerate(tree)]
    if tree is not None and not isinstance(tree, Mapping):
        raise ValueError(f"{head[:40]!r} leads nowhere: what holds it is not a mapping")
    return {**(tree or {}), head: edited((tree or {}).get(head), rest, value)}
