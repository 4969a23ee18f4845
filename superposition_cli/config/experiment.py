"""A whole configuration: one setting, what varies, and what is asked of the results."""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from superposition_cli.config.axes import Axis, Sweep, address, assign
from superposition_cli.config.complaints import (
    Complaint,
    Strict,
    complaints,
    dotted,
    refuse,
    shown,
    written_place,
    wrong,
)
from superposition_cli.config.sections import NotNegative
from superposition_cli.config.settings import Setting
from superposition_cli.errors import InvalidInput

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
Words = Annotated[tuple[str, ...], Field(strict=False)]


def _scalar(value: object) -> object:
    if not isinstance(value, str | int | float):
        wrong(f"needs a number or a word; got {shown(value)}")
    return value


Scalar = Annotated[Any, AfterValidator(_scalar)]


class Expectation(Strict):
    """A number or word that the finding of an analysis must show."""

    id: Annotated[str, Field(min_length=1)]
    finding: Annotated[str, Field(min_length=1)]
    claim: str | None = None
    where: dict[str, Scalar] | None = None
    equals: Scalar | None = None
    min: float | None = None
    max: float | None = None
    approx: float | None = None
    tol: NotNegative | None = None
    rtol: NotNegative | None = None

    @model_validator(mode="after")
    def _one_question(self) -> "Expectation":
        asked = [n for n in ("equals", "min", "max", "approx") if getattr(self, n) is not None]
        slack = [n for n in ("tol", "rtol") if getattr(self, n) is not None]
        if len(asked) != 1:
            refuse([Complaint((), "needs exactly one of equals, min, max and approx")])
        if asked == ["approx"] and len(slack) != 1:
            refuse([Complaint(("approx",), "needs exactly one of tol and rtol")])
        if asked != ["approx"] and slack:
            refuse([Complaint((slack[0],), "is only for approx")])
        return self


class Experiment(Setting):
    """A whole configuration: the base setting, its sweep, and what to ask of the results."""

    name: Annotated[str, Field(pattern=NAME)]
    sweep: Sweep | None = None
    metrics: Words = ("feature_norms", "feature_dimensionality")
    analyses: Words = ()
    expect: Annotated[tuple[Expectation, ...], Field(strict=False)] = ()
    cost: Literal["fast", "slow", "gpu"] = "fast"

    @model_validator(mode="after")
    def _own_ids(self) -> "Experiment":
        ids = [entry.id for entry in self.expect]
        refuse(
            Complaint(("expect", i, "id"), f"{shown(name)} is already taken")
            for i, name in enumerate(ids)
            if name in ids[:i]
        )
        return self

    @cached_property
    def base(self) -> Setting:
        """The setting that the sweep varies."""
        return Setting(seed=self.seed, model=self.model, data=self.data, train=self.train)

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The directions of the grid, none without a sweep; the last varies fastest."""
        return self.sweep.axes if self.sweep else ()

    @property
    def n_cells(self) -> int:
        """The number of cells, counted without expanding anything; 1 without a sweep."""
        return self.sweep.n_cells if self.sweep else 1

    def values(self, name: str) -> list[object]:
        """Return what a setting such as `model.kind` is in the base and along the sweep's axes."""
        section, field = name.split(".")
        swept = (axis for axis in self.axes if name in axis.names)
        along = [axis.item(i)[axis.names.index(name)] for axis in swept for i in range(axis.length)]
        return [getattr(getattr(self, section), field), *along]

    @cached_property
    def _written(self) -> dict[str, object]:
        """The base as written, so that defaults follow what an axis changes."""
        return self.base.model_dump(exclude_unset=True)

    def at(self, assignment: Mapping[str, object]) -> Setting:
        """Return the setting of one cell; InvalidInput if the combination is wrong."""
        found = self.attempt(assignment)
        if isinstance(found, Setting):
            return found
        cell = ", ".join(f"{name}={shown(value)}" for name, value in assignment.items())
        raise InvalidInput(*(f"{cell}: {dotted(c.place)} {c.sentence}" for c in found))

    def attempt(self, assignment: Mapping[str, object]) -> Setting | list[Complaint]:
        """Return the setting of one cell, or what is wrong with it."""
        tree = self._written
        try:
            for name in sorted(assignment, key=lambda name: name.count(".")):
                tree = assign(tree, address(name), assignment[name])
            return Setting.model_validate(tree)
        except ValidationError as error:
            return [
                Complaint(written_place(c.place, tree), c.sentence)
                for c in complaints(error, Setting)
            ]
        except ValueError as error:
            return [Complaint((), str(error))]
