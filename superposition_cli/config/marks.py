"""What a setting does to the programs that train, said once: on its field.

    optimizer: Annotated[str, COMPILES]               a new value compiles: `Spec.optimizer`
    learning_rate: Annotated[float, VARIES]           may differ inside a program: `Knobs`
    kind: Annotated[str, compiles("model")]           under another name in `Spec`
    low: Annotated[float, VARIES, compiles("zero_based", lambda low: low == 0)]
    low: Annotated[float, compiles("constant", lambda low, high: low == high, beside="high")]
    seed: Annotated[int, KEYS]                        differs through random keys alone
    restarts: Annotated[int, FIXED]                   one for the whole grid

Axes, groups, `Spec`, `Knobs` and the documentation follow from these marks.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pydantic import BaseModel

Reader = Callable[..., Any]


class Part(Enum):
    """Where a setting ends up."""

    SPEC = "compiles"
    KNOBS = "varies"
    KEYS = "varies through keys"
    PLAN = "fixed"


@dataclass(frozen=True)
class Mark:
    """One use of a setting.

    name: of the field of `Spec` or `Knobs`; by default the setting's own.
    read: what that field is made of, from the setting's value.
    resolved: the root has a method `name`, which is asked instead.
    beside: another setting of the section, whose value `read` takes too. It may vary inside a
        program; what is read is then a flag that holds where it holds for all.
    """

    part: Part
    name: str | None = None
    read: Reader = lambda value: value
    resolved: bool = False
    beside: str | None = None


COMPILES, VARIES, KEYS, FIXED = (Mark(part) for part in Part)


def compiles(
    name: str | None = None, read: Reader = lambda value: value, beside: str | None = None
) -> Mark:
    """Mark a setting that compiles: under another name, in another form, or beside another."""
    return Mark(Part.SPEC, name, read, beside=beside)


def varies(read: Reader) -> Mark:
    """Mark a setting that varies, in another form."""
    return Mark(Part.KNOBS, read=read)


def resolves(name: str, part: Part = Part.KNOBS) -> Mark:
    """Mark a setting that varies, or compiles, as what the root's method `name` makes of it."""
    return Mark(part, name, resolved=True)


def fields(root: type[BaseModel]) -> Iterator[tuple[tuple[str, ...], list[Mark]]]:
    """Yield the place of every setting of a root and of its sections, with its marks."""
    for name, field in root.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from (((name, *place), marks) for place, marks in fields(field.annotation))
        else:
            yield (name,), [mark for mark in field.metadata if isinstance(mark, Mark)]


def readers(root: type[BaseModel], part: Part) -> dict[str, Reader]:
    """Return how each field of `Spec` or `Knobs` is read off a root, by its name."""
    found: dict[str, Reader] = {}
    for place, marks in fields(root):
        for mark in marks:
            if mark.part is part:
                found[mark.name or place[-1]] = _reader(place, mark)
    return found


def flags(root: type[BaseModel]) -> dict[str, str]:
    """Return the fields of `Spec` that a second setting decides too, each with its dotted name."""
    return {
        mark.name or place[-1]: ".".join((*place[:-1], mark.beside))
        for place, marks in fields(root)
        for mark in marks
        if mark.beside is not None
    }


def _reader(place: tuple[str, ...], mark: Mark) -> Reader:
    if mark.resolved:
        return lambda root: getattr(root, mark.name or place[-1])()

    def read(root: Any) -> Any:
        for key in place[:-1]:
            root = getattr(root, key)
        names = [name for name in (place[-1], mark.beside) if name is not None]
        return mark.read(*(getattr(root, name) for name in names))

    return read
