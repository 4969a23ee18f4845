"""What an analysis needs of a configuration, as data: told before anything is trained.

A need looks at the values of the fields it is about, over the axes that set them; what other
axes do is of no concern to it. What only results can tell (whether all models diverged) is not
a need.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from superposition_cli.config import Axis, Experiment, Setting
from superposition_cli.config.axes import compiles
from superposition_cli.config.complaints import Complaint, Place
from superposition_cli.config.sections import PAIR
from superposition_cli.running import grid
from superposition_cli.toy.data import SAMPLERS, TARGETS
from superposition_cli.toy.models import MODELS

KIND, FEATURES, HIDDEN = "model.kind", "model.n_features", "model.n_hidden"
PROBABILITY, IMPORTANCE = "data.feature_probability", "data.importance"
LOW, HIGH, STEPS = "data.low", "data.high", "train.steps"
VECTORS = (PROBABILITY, IMPORTANCE, FEATURES)  # what the first feature may differ in


class Cells(NamedTuple):
    """The cells of an experiment, of which a need resolves at most so many."""

    experiment: Experiment
    most: int = grid.CHECKED_CELLS

    def settings(self, *fields: str) -> Iterator[Setting]:
        """Yield the settings that fields take, axes that set none of them at their first value.

        Axes with more combinations than `most` are walked in even steps, the ends included.
        Combinations that are no setting are left out: they are refused for themselves.
        """
        axes = self.experiment.axes
        walked = [axis.length if _sets(axis, *fields) else 1 for axis in axes]
        if math.prod(walked) > self.most:
            longest = int(self.most ** (1 / sum(length > 1 for length in walked)))
            walked = [min(length, longest) for length in walked]
        for choice in itertools.product(*map(_spread, axes, walked)):
            assignment: dict[str, object] = {}
            for axis, i in zip(axes, choice, strict=True):
                assignment |= zip(axis.names, axis.item(i), strict=True)
            setting = self.experiment.attempt(assignment)
            if isinstance(setting, Setting):
                yield setting

    def place(self, field: str, in_base: bool = False) -> Place:
        """Return where a field is written: on an axis, or in the base.

        An axis of one entry of it is not to blame for what is in the base already.
        """
        names = [name for axis in self.experiment.axes for name in axis.names]
        whole = [name for name in names if name in _spellings(field)]
        entries = [name for name in names if not in_base and _is_part(name, field)]
        if whole or entries:
            return ("sweep", "parameters", (whole or entries)[0])
        if field == PROBABILITY and self.experiment.data.sparsity is not None:
            return ("data", "sparsity")
        return tuple(field.split("."))


class Need(Protocol):
    """A condition on a configuration."""

    @property
    def words(self) -> str:
        """The condition as a sentence: "needs ..."."""

    def complaint(self, cells: Cells) -> Complaint | None:
        """Return where an experiment falls short and the sentence that says so, or None."""


class Fault(NamedTuple):
    """The field of a setting that falls short, and what it is where that helps."""

    field: str
    got: str = ""


class EachCell(NamedTuple):
    """A need that every cell meets by itself."""

    what: str  # "needs ..."
    fields: tuple[str, ...]  # by dotted name: all that `fault` looks at
    fault: Callable[[Setting], Fault | None]
    why: str = ""

    @property
    def words(self) -> str:
        """The condition and its reason."""
        return f"{self.what}: {self.why}" if self.why else self.what

    def complaint(self, cells: Cells) -> Complaint | None:
        """Return the complaint about the first cell that falls short."""
        faults = [self.fault(setting) for setting in cells.settings(*self.fields)]
        fault = next(filter(None, faults), None)
        if fault is None:
            return None
        got = f", not {fault.got}" if fault.got else ""
        why = f": {self.why}" if self.why else ""
        in_base = all(faults) and self.fault(cells.experiment.base) is not None
        return Complaint(cells.place(fault.field, in_base), f"{self.what}{got}{why}")


class WholeGrid(NamedTuple):
    """A need that the cells meet together, or the grid as such."""

    words: str
    fault: Callable[[Cells], Place | None]  # where the grid falls short

    def complaint(self, cells: Cells) -> Complaint | None:
        """Return the complaint about the place that is at fault."""
        place = self.fault(cells)
        return None if place is None else Complaint(place, self.words)


def among(field: str, *values: str, why: str = "") -> EachCell:
    """Return the need that a field has one of some values."""

    def fault(setting: Setting) -> Fault | None:
        value = _read(setting, field)
        return None if value in values else Fault(field, str(value))

    return EachCell(f"needs {field} {_listed(values, 'or')}", (field,), fault, why)


def at_least(field: str, least: float, why: str) -> EachCell:
    """Return the need that a field is a number or more."""

    def fault(setting: Setting) -> Fault | None:
        value = _read(setting, field)
        return None if value >= least else Fault(field, f"{value:g}")

    return EachCell(f"needs {field} of at least {least:g}", (field,), fault, why)


def sizes(*pairs: tuple[int, int]) -> EachCell:
    """Return the need that n features and m hidden dimensions are one of some pairs (n, m)."""

    def fault(setting: Setting) -> Fault | None:
        n, m = setting.model.n_features, setting.model.n_hidden
        field = HIDDEN if n in dict(pairs) else FEATURES
        return None if (n, m) in pairs else Fault(field, f"{n} in {m}")

    words = [f"{n} features in {m}" for n, m in pairs]
    return EachCell(f"needs {_listed(words, 'or')} hidden dimensions", (FEATURES, HIDDEN), fault)


def probabilities(count: int) -> EachCell:
    """Return the need that the features of a cell have one, or two, probabilities."""

    def fault(setting: Setting) -> Fault | None:
        same = len(set(setting.feature_probability())) == count
        return None if same else Fault(PROBABILITY)

    words = {
        1: "needs one feature probability for all features of a cell",
        2: "needs features of two different probabilities in every cell",
    }
    return EachCell(words[count], (PROBABILITY, FEATURES), fault)


def unit_importance(but_last: bool = False) -> EachCell:
    """Return the need that all features have importance 1, or all but the last."""

    def fault(setting: Setting) -> Fault | None:
        weights = setting.importance()
        others = weights[:-1] if but_last else weights
        return None if set(others) <= {1} else Fault(IMPORTANCE)

    words = f"needs importance 1 for all features{' but the last' if but_last else ''}"
    return EachCell(words, (IMPORTANCE, FEATURES), fault)


def when(field: str, value: str, need: EachCell) -> EachCell:
    """Return a need of those cells alone in which a field has a value."""

    def fault(setting: Setting) -> Fault | None:
        return need.fault(setting) if _read(setting, field) == value else None

    return EachCell(f"with {field} {value} {need.what}", (field, *need.fields), fault, need.why)


def same(*fields: str) -> WholeGrid:
    """Return the need that fields do not vary between cells."""

    def fault(cells: Cells) -> Place | None:
        for field in fields:
            if len({_read(setting, field) for setting in cells.settings(field)}) > 1:
                return cells.place(field)
        return None

    names = [field.rpartition(".")[2] for field in fields]
    return WholeGrid(f"needs the same {_listed(names, 'and')} in every cell", fault)


def sweeps_only(*names: str, or_none: bool = False) -> WholeGrid:
    """Return the need that the axes are these, each by itself; or that there is no sweep."""

    def fault(cells: Cells) -> Place | None:
        axes = cells.experiment.axes
        others = [axis for axis in axes if axis.names not in [(name,) for name in names]]
        if others:
            return ("sweep", "parameters", others[0].names[0])
        complete = len(axes) == len(names) or (or_none and not axes)
        return None if complete else ("sweep",)

    over = f"needs a {'grid' if len(names) > 1 else 'sweep'} over {_listed(names, 'and')}"
    return WholeGrid(f"{over}{', or none,' if or_none else ''} and no other axis", fault)


def _several_programs(cells: Cells) -> Place | None:
    """The first axis that asks for several programs."""
    for axis in cells.experiment.axes:
        compiling = [name for name in axis.names if compiles(name)]
        if compiling and axis.length > 1:
            return ("sweep", "parameters", compiling[0])
    return None


def _pairs(setting: Setting) -> dict[str, tuple[float, ...]]:
    """Probability and importance of the first feature and of the second."""
    return {PROBABILITY: setting.feature_probability()[:2], IMPORTANCE: setting.importance()[:2]}


def _unequal_others(setting: Setting) -> Fault | None:
    if len(set(setting.feature_probability()[1:])) > 1:
        return Fault(PROBABILITY)
    return Fault(IMPORTANCE) if len(set(setting.importance()[1:])) > 1 else None


def perturbed(settings: Iterable[Setting]) -> set[str]:
    """Return in which of probability and importance the first feature differs from the second."""
    pairs = [pair for setting in settings for pair in _pairs(setting).items()]
    return {field for field, pair in pairs if len(set(pair)) > 1}


def _not_one_perturbed(cells: Cells) -> Place | None:
    varied = perturbed(cells.settings(*VECTORS))
    return None if len(varied) == 1 else cells.place(max(varied, default=PROBABILITY))


def _several_cells(cells: Cells) -> Place | None:
    """What makes two cells of one first feature."""
    settings = list(cells.settings(*VECTORS))
    for field in perturbed(settings):
        if len({_pairs(setting)[field] for setting in settings}) < len(settings):
            return cells.place(field)
    for axis in cells.experiment.axes:
        if axis.length > 1 and not _sets(axis, *VECTORS):
            return ("sweep", "parameters", axis.names[0])
    return None


def _sets(axis: Axis, *fields: str) -> bool:
    return any(_is_part(name, field) for name in axis.names for field in fields)


def _is_part(name: str, field: str) -> bool:
    """Whether the name of an axis is that of a field or of an entry of it."""
    return any(name == known or name.startswith(f"{known}.") for known in _spellings(field))


def _spellings(field: str) -> tuple[str, ...]:
    """The names a field is written under: a probability may be given as a sparsity."""
    section, _, last = field.partition(".")
    return (field, f"{section}.{PAIR.get(last, last)}")


def _spread(axis: Axis, count: int) -> list[int]:
    """So many items of an axis, evenly spread, from the first to the last."""
    return np.linspace(0, axis.length - 1 if count > 1 else 0, count).round().astype(int).tolist()


def _read(setting: Setting, field: str) -> Any:
    """What a dotted field is in a setting."""
    section, _, name = field.partition(".")
    return getattr(getattr(setting, section), name)


def _listed(words: Iterable[str], joint: str) -> str:
    *first, last = words
    return f"{', '.join(first)} {joint} {last}" if first else last


def _outside_unit(setting: Setting) -> Fault | None:
    low, high = setting.data.low, setting.data.high
    return None if (low, high) == (0, 1) else Fault(LOW if low else HIGH)


def _one_sign(setting: Setting) -> Fault | None:
    low, high = setting.data.low, setting.data.high
    return None if low < 0 < high else Fault(LOW if low >= 0 else HIGH)


def _bent(setting: Setting) -> Fault | None:
    kind = setting.model.kind
    return None if MODELS[kind].linear_hidden else Fault(KIND, kind)


def _without_moments(setting: Setting) -> Fault | None:
    if SAMPLERS[setting.data.kind].moments is None:
        return Fault("data.kind", setting.data.kind)
    missing = TARGETS[setting.data.target].moments is None
    return Fault("data.target", setting.data.target) if missing else None


def _no_importance(setting: Setting) -> Fault | None:
    return None if min(setting.importance()) > 0 else Fault(IMPORTANCE)


RELU_OUTPUT = among(KIND, "relu_output")
LINEAR_HIDDEN = EachCell("needs a model.kind whose hidden vector is Wᵀx", (KIND,), _bent)
MOMENTS = EachCell(
    "needs exact moments of data and target", ("data.kind", "data.target"), _without_moments
)
INDEPENDENT = among("data.kind", "uniform", why="features are independent")
IDENTITY = among("data.target", "identity")
ROTATES = at_least(HIDDEN, 2, why="a line has no rotations")
UNIT_INTERVAL = EachCell(
    "needs features in U[0, 1]: data.low 0 and data.high 1", (LOW, HIGH), _outside_unit
)
BOTH_SIGNS = EachCell(
    "needs magnitudes of both signs: data.low < 0 < data.high", (LOW, HIGH), _one_sign
)
POSITIVE_IMPORTANCE = EachCell("needs importances above 0", (IMPORTANCE, FEATURES), _no_importance)
EQUAL_BUT_FIRST = EachCell(
    "needs features that are equal, all but the first", VECTORS, _unequal_others
)
FIRST_DIFFERS = WholeGrid(
    "needs a first feature with its own probability or importance", _not_one_perturbed
)
ONE_CELL_EACH = WholeGrid(
    "needs one cell for each value of the first feature, and no other axis", _several_cells
)
ONE_PROGRAM = WholeGrid(
    "needs one program for all models: sweep no field that compiles", _several_programs
)
