"""Feature vectors: the ways to write n numbers, one per feature, and what they stand for.

0.5                                the same for every feature
[1.0, 0.7, 0.49]                   each one
{geometric: {ratio: r, start: 0}}  r**(i + start); short: {geometric: r}
{geomspace: {start: a, stop: b}}   from a to b across the features, equal ratios
{base: v, first: x, last: y, 3: z} a vector with exceptions; a later one wins
{inverse_variance: true}           1/sigma_i^2 of the inputs (importance only)
"""

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag, model_validator

from superposition_cli.config.complaints import Complaint, Strict, hint, refuse

Positive = Annotated[float, Field(gt=0)]
Numbers: TypeAlias = tuple[float, ...]


class Progression(Strict):
    """The powers ratio**(i + start)."""

    ratio: Positive
    start: float = 0.0


class Span(Strict):
    """The two ends of a geometric spacing."""

    start: Positive
    stop: Positive


def _progression(value: object) -> object:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return {"ratio": value} if is_number else value


class Geometric(Strict):
    """ratio**(i + start) for feature i."""

    geometric: Annotated[Progression, BeforeValidator(_progression)]


class Geomspace(Strict):
    """From start to stop across the features, neighbours in equal ratio."""

    geomspace: Span


class InverseVariance(Strict):
    """1/sigma_i^2 of the distribution that feature i is drawn from."""

    inverse_variance: Literal[True]


class Entries(Strict, extra="allow"):
    """A vector with exceptions, keyed `first`, `last` or by index."""

    __pydantic_extra__: dict[str, float] = Field(init=False)
    base: "Vector | None" = None

    @model_validator(mode="after")
    def _keys(self) -> "Entries":
        unknown = [key for key in self.exceptions if not is_entry(key)]
        words = ("base", "first", "last", "geometric", "geomspace", "inverse_variance")
        refuse(
            Complaint((key,), "is neither `first`, `last` nor an index" + hint(key, words))
            for key in unknown
        )
        if not self.exceptions and self.base is None:
            refuse([Complaint((), "is an empty mapping")])
        return self

    @property
    def exceptions(self) -> dict[str, float]:
        """The entries that differ from the base, by name."""
        return self.__pydantic_extra__


def is_entry(word: str) -> bool:
    """Return whether a word names an entry of a vector: `first`, `last` or an index."""
    return word in ("first", "last") or (word.isascii() and word.isdecimal() and len(word) < 10)


def _form(value: object) -> str | None:
    if isinstance(value, BaseModel):
        return f"<{type(value).__name__}>"
    if isinstance(value, dict):
        keys = {"geometric": "<Geometric>", "geomspace": "<Geomspace>"}
        keys["inverse_variance"] = "<InverseVariance>"
        return next((keys[key] for key in value if key in keys), "<Entries>")
    if isinstance(value, list | tuple):
        return "<list>"
    return "<number>" if isinstance(value, int | float) and not isinstance(value, bool) else None


NOT_A_VECTOR = "needs a number, a list of numbers, or a mapping with geometric, geomspace or base"

Vector = Annotated[
    Annotated[float, Tag("<number>")]
    | Annotated[Numbers, Field(strict=False, min_length=1), Tag("<list>")]
    | Annotated[Geometric, Tag("<Geometric>")]
    | Annotated[Geomspace, Tag("<Geomspace>")]
    | Annotated[InverseVariance, Tag("<InverseVariance>")]
    | Annotated[Entries, Tag("<Entries>")],
    Discriminator(_form, custom_error_type="not_a_vector", custom_error_message=NOT_A_VECTOR),
]
Entries.model_rebuild()


def resolve(
    vector: object,
    n: int,
    base: float | None = None,
    inverse_variance: Callable[[], Numbers] | None = None,
) -> Numbers:
    """Return the n numbers a vector stands for; ValueError says why there are none.

    base: what `{last: x}` without a base is an exception to.
    inverse_variance: how `{inverse_variance: true}` is computed where it is allowed.
    """
    if isinstance(vector, float):
        return (vector,) * n
    try:
        numbers = _spread(vector, n, base, inverse_variance)
    except (OverflowError, ZeroDivisionError):
        raise ValueError("holds a number too large for a floating-point number") from None
    if not all(map(math.isfinite, numbers)):
        raise ValueError("holds a number too large for a floating-point number")
    return numbers


def _spread(vector: Any, n: int, base: float | None, inverse: Any) -> Numbers:
    if isinstance(vector, tuple):
        if len(vector) != n:
            raise ValueError(f"has {len(vector)} numbers, but the model has {n} features")
        return vector
    if isinstance(vector, Geometric):
        ratio, start = vector.geometric.ratio, vector.geometric.start
        return tuple(ratio ** (i + start) for i in range(n))
    if isinstance(vector, Geomspace):
        span = vector.geomspace
        return tuple(geometric_mean(span.start, span.stop, i, n) for i in range(n))
    if isinstance(vector, InverseVariance):
        if inverse is None:
            raise ValueError("cannot be inverse_variance: that is a form of importance")
        return inverse()
    return _with_exceptions(vector, n, base, inverse)


def _with_exceptions(vector: Entries, n: int, base: float | None, inverse: Any) -> Numbers:
    written = base if vector.base is None else vector.base
    if written is None:
        raise ValueError("needs a base: the value of the features that are not named")
    numbers = list(resolve(written, n, base, inverse))
    for key, number in vector.exceptions.items():
        index = {"first": 0, "last": n - 1}.get(key)
        index = int(key) if index is None else index
        if index >= n:
            raise ValueError(f"names feature {index}, but the last of {n} features is {n - 1}")
        numbers[index] = number
    return tuple(numbers)


def geometric_mean(start: float, stop: float, i: int, n: int) -> float:
    """Return number i of n from start to stop in equal ratios; the ends are exact.

    Between the ends it is rounded to 12 digits, so that platforms agree on it.
    """
    if i == 0 or n == 1:
        return start
    if i == n - 1:
        return stop
    t = i / (n - 1)
    return float(f"{start ** (1 - t) * stop**t:.12g}")


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
