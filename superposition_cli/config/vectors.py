"""Feature vectors: the ways to write n numbers, one per feature, and what they stand for.

0.5                                   the same for every feature
[1.0, 0.7, 0.49]                      each one
{geometric: {ratio: r, first: v}}     v r**i; first is 1 by default; short: {geometric: r}
{geometric: {ratio: r, start: k}}     r**(i + k), k a whole number
{geomspace: {start: a, stop: b}}      from a to b across the features, equal ratios
{linspace: {start: a, stop: b}}       from a to b across the features, equal steps
{power: {exponent: a, first: v}}      v (i + 1)**-a; first is 1 by default; short: {power: a}
{power: {exponent: a, total: E}}      the same law, scaled so that the n numbers add up to E
{base: v, first: x, last: y, 3: z}    a vector with exceptions; a later one wins
{inverse_variance: true}              1/sigma_i^2 of the inputs (importance only)

A form is a subclass of `Form` whose one field is its key and whose `numbers` spread it; the union
`Vector` lists them, and `FORMS` is read off it.
"""

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from superposition_cli.config.complaints import Complaint, Strict, key_hint, models_in, refuse

Positive = Annotated[float, Field(gt=0)]
Numbers: TypeAlias = tuple[float, ...]
ENTRY_KEYS = {"propertyNames": {"pattern": "^(base|first|last|[0-9]{1,9})$"}}
NO_COUNT = {"num": "is not needed here: one number per feature"}


class Wanted(NamedTuple):
    """What a form is asked for.

    n: how many numbers.
    base: what `{last: x}` without a base is an exception to.
    inverse_variance: how `{inverse_variance: true}` is computed where it is allowed.
    """

    n: int
    base: float | None
    inverse_variance: Callable[[], Numbers] | None


def _whole(start: float) -> float:
    if not start.is_integer():
        instead = f"; for a first value of {start!r} write first: {start!r}" if start > 0 else ""
        refuse([Complaint((), f"is an exponent and must be a whole number{instead}")])
    return start


class Progression(Strict):
    """The numbers first * ratio**i, or the powers ratio**(i + start)."""

    ratio: Positive
    start: Annotated[float, AfterValidator(_whole), Field(json_schema_extra={"multipleOf": 1})] = (
        0.0
    )
    first: float | None = None

    @model_validator(mode="after")
    def _begins_once(self) -> "Progression":
        if self.first is not None and self.start != 0:
            why = f"is not for a start of {self.start:g}, which makes the first value ratio**start"
            refuse([Complaint(("first",), f"{why}: leave out one of the two")])
        return self


class Span(Strict):
    """The two ends of a geometric spacing."""

    said: ClassVar[Mapping[str, str]] = NO_COUNT
    start: Positive
    stop: Positive


class Ends(Strict):
    """The two ends of an equal spacing."""

    said: ClassVar[Mapping[str, str]] = NO_COUNT
    start: float
    stop: float


class Law(Strict):
    """The numbers c (i + 1)**-exponent, c being the first of them or following from their sum."""

    exponent: float
    first: float | None = None
    total: float | None = None

    @model_validator(mode="after")
    def _scaled_once(self) -> "Law":
        if self.first is not None and self.total is not None:
            refuse(
                [Complaint(("total",), "and first each fix the scale: leave out one of the two")]
            )
        return self


def _short(key: str, form: type[Strict]) -> BeforeValidator:
    """Read a number as the mapping in which it is the value of `key`."""

    def written_out(value: object) -> object:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return {key: value} if is_number else value

    return BeforeValidator(written_out, json_schema_input_type=float | form)


def _without_unit(form: Any) -> Any:
    """A form begins with 1 where no first value is given: said or not, it is the same form."""
    return form.model_copy(update={"first": None}) if form.first == 1 else form


class Form(Strict):
    """A vector written as a mapping."""

    def numbers(self, wanted: Wanted) -> Numbers:
        """Return the numbers it stands for; ValueError says why there are none."""
        raise NotImplementedError


def _inside(name: str, model: type[Strict]) -> dict[str, str]:
    """What to say of a key of a form that is written beside it."""
    return {key: f"belongs inside: {{{name}: {{..., {key}: ...}}}}" for key in model.model_fields}


class Geometric(Form):
    """first * ratio**i for feature i, or ratio**(i + start)."""

    said: ClassVar[Mapping[str, str]] = _inside("geometric", Progression)
    geometric: Annotated[Progression, _short("ratio", Progression), AfterValidator(_without_unit)]

    def numbers(self, wanted: Wanted) -> Numbers:
        """Return the powers of the ratio."""
        ratio, start, first = self.geometric.ratio, self.geometric.start, self.geometric.first
        if first is None:
            return tuple(ratio ** (i + start) for i in range(wanted.n))
        return tuple(first * ratio**i for i in range(wanted.n))


class Geomspace(Form):
    """From start to stop across the features, neighbours in equal ratio."""

    geomspace: Span

    def numbers(self, wanted: Wanted) -> Numbers:
        """Return numbers in equal ratio; the ends are exact."""
        ends, n = self.geomspace, wanted.n
        return tuple(geometric_mean(ends.start, ends.stop, i, n) for i in range(n))


class Ramp(Form):
    """From start to stop across the features, neighbours in equal distance."""

    linspace: Ends

    def numbers(self, wanted: Wanted) -> Numbers:
        """Return equally spaced numbers; the ends are exact."""
        ends, n = self.linspace, wanted.n
        return tuple(arithmetic_mean(ends.start, ends.stop, i, n) for i in range(n))


class Power(Form):
    """first * (i + 1)**-exponent for feature i, or the same law with a given sum."""

    said: ClassVar[Mapping[str, str]] = _inside("power", Law)
    power: Annotated[Law, _short("exponent", Law), AfterValidator(_without_unit)]

    def numbers(self, wanted: Wanted) -> Numbers:
        """Return the powers of 1 ... n, beginning with `first` or adding up to `total`."""
        law, n = self.power, wanted.n
        if law.total is None:
            first = 1.0 if law.first is None else law.first
            return tuple(first * (i + 1.0) ** -law.exponent for i in range(n))
        largest = n if law.exponent < 0 else 1  # whose weight is 1, so that none overflows
        weights = [((i + 1) / largest) ** -law.exponent for i in range(n)]
        scale = law.total / math.fsum(weights)
        return tuple(scale * weight for weight in weights)


class InverseVariance(Form):
    """1/sigma_i^2 of the distribution that feature i is drawn from."""

    inverse_variance: Literal[True]

    def numbers(self, wanted: Wanted) -> Numbers:
        """Return what the inputs say, where they are asked."""
        if wanted.inverse_variance is None:
            raise ValueError("cannot be inverse_variance: that is a form of importance")
        return wanted.inverse_variance()


class Entries(Form, extra="allow", json_schema_extra=ENTRY_KEYS):
    """A vector with exceptions, keyed `first`, `last` or by index."""

    __pydantic_extra__: dict[str, float] = Field(init=False)
    base: "Vector | None" = None

    @model_validator(mode="before")
    @classmethod
    def _keys(cls, written: Any) -> Any:
        """Refuse unknown keys before their values, which may be written for a form there is not."""
        keys = [key for key in written if key != "base"] if isinstance(written, dict) else []
        known = ("base", "first", "last", *FORMS)
        refuse(
            Complaint((key,), NO_FORM + key_hint(key, known)) for key in keys if not is_entry(key)
        )
        return written

    @model_validator(mode="after")
    def _not_empty(self) -> "Entries":
        if not self.exceptions and self.base is None:
            refuse([Complaint((), "is an empty mapping")])
        return self

    @property
    def exceptions(self) -> dict[str, float]:
        """The entries that differ from the base, by name."""
        return self.__pydantic_extra__

    def numbers(self, wanted: Wanted) -> Numbers:
        """Return the numbers of the base, but for the exceptions."""
        written = wanted.base if self.base is None else self.base
        if written is None:
            raise ValueError("needs a base: the value of the features that are not named")
        numbers, n = list(resolve(written, *wanted)), wanted.n
        for key, number in self.exceptions.items():
            index = {"first": 0, "last": n - 1}.get(key)
            index = int(key) if index is None else index
            if index >= n:
                raise ValueError(f"names feature {index}, but the last of {n} features is {n - 1}")
            numbers[index] = number
        return tuple(numbers)


def is_entry(word: str) -> bool:
    """Return whether a word names an entry of a vector: `first`, `last` or an index."""
    return word in ("first", "last") or (word.isascii() and word.isdecimal() and len(word) < 10)


def _form(value: object) -> str | None:
    if isinstance(value, Form):
        return f"<{type(value).__name__}>"
    if isinstance(value, dict):
        return next((f"<{FORMS[key].__name__}>" for key in value if key in FORMS), "<Entries>")
    if isinstance(value, list | tuple):
        return "<list>"
    return "<number>" if isinstance(value, int | float) and not isinstance(value, bool) else None


NOT_A_VECTOR = (
    "needs a number, a list of numbers, or a mapping with geometric, geomspace, linspace, power "
    "or base"
)

Vector = Annotated[
    Annotated[float, Tag("<number>")]
    | Annotated[Numbers, Field(strict=False, min_length=1), Tag("<list>")]
    | Annotated[Geometric, Tag("<Geometric>")]
    | Annotated[Geomspace, Tag("<Geomspace>")]
    | Annotated[Ramp, Tag("<Ramp>")]
    | Annotated[Power, Tag("<Power>")]
    | Annotated[InverseVariance, Tag("<InverseVariance>")]
    | Annotated[Entries, Tag("<Entries>")],
    Discriminator(_form, custom_error_type="not_a_vector", custom_error_message=NOT_A_VECTOR),
]
FORMS = {key: m for m in models_in(Vector) if m is not Entries for key in m.model_fields}
NO_FORM = (
    f"is no form of a vector: there are a number, a list, {', '.join(list(FORMS)[:-1])}, "
    "base with first, last or an index, inverse_variance (importance)"
)
Entries.model_rebuild()


def resolve(
    vector: object,
    n: int,
    base: float | None = None,
    inverse_variance: Callable[[], Numbers] | None = None,
) -> Numbers:
    """Return the n numbers a vector stands for; ValueError says why there are none.

    base, inverse_variance: as in `Wanted`.
    """
    if isinstance(vector, float):
        return (vector,) * n
    try:
        numbers = _spread(vector, Wanted(n, base, inverse_variance))
    except (OverflowError, ZeroDivisionError):
        raise ValueError("holds a number too large for a floating-point number") from None
    if not all(map(math.isfinite, numbers)):
        raise ValueError("holds a number too large for a floating-point number")
    return numbers


def _spread(vector: Any, wanted: Wanted) -> Numbers:
    if not isinstance(vector, tuple):
        return vector.numbers(wanted)
    if len(vector) != wanted.n:
        raise ValueError(f"has {len(vector)} numbers, but the model has {wanted.n} features")
    return vector


def geometric_mean(start: float, stop: float, i: int, n: int) -> float:
    """Return number i of n from start to stop in equal ratios; the ends are exact.

    Between the ends it is rounded to 12 digits, so that platforms agree on it.
    """
    return _between(start, stop, i, n, lambda t: start ** (1 - t) * stop**t)


def arithmetic_mean(start: float, stop: float, i: int, n: int) -> float:
    """Return number i of n from start to stop in equal steps, exact and rounded likewise."""
    return _between(start, stop, i, n, lambda t: start * (1 - t) + stop * t)


def _between(start: float, stop: float, i: int, n: int, mean: Callable[[float], float]) -> float:
    if i == 0 or n == 1:
        return start
    return stop if i == n - 1 else float(f"{mean(i / (n - 1)):.12g}")


def with_entry(written: Any, entry: str, value: object) -> dict[str, object]:
    """Return a written vector with one entry replaced; the other entries stay.

    A scalar, list or formula becomes the base of the exception.
    """
    is_entries = isinstance(written, dict) and _form(written) == "<Entries>"
    others = written if is_entries else {} if written is None else {"base": written}
    return {**{key: v for key, v in others.items() if key != entry}, entry: value}


def complement(value: Any) -> Any:
    """Return 1 - value for a number or list of numbers, rounded to 12 digits; else None.

    The rounding makes sparsity 0.9 and feature_probability 0.1 the same setting.
    """
    if isinstance(value, list | tuple):
        parts = [complement(part) for part in value]
        return None if None in parts else parts
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(f"{1 - value:.12g}") if is_number else None
