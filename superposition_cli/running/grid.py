"""From an experiment to the models to train: groups of equal `Spec`, cut into chunks.

Nothing is expanded before it is needed: a plan holds one entry per group, and the settings
of a chunk's models are resolved when the chunk is reached. A model is addressed by

    cell   row-major index over the sweep's axes as written, the last one fastest
    model  cell * restarts + restart
    place  position inside its group, in the same order
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from superposition_cli.config import Experiment, Setting, setting_words
from superposition_cli.config.axes import compiles
from superposition_cli.config.marks import Part, flags, readers
from superposition_cli.errors import InvalidInput
from superposition_cli.running.assembly import Assembler, Cells
from superposition_cli.toy.spec import Knobs, Spec

OF_SPEC, OF_KNOBS = readers(Setting, Part.SPEC), readers(Setting, Part.KNOBS)
FLAGS = flags(Setting)
MAX_MODELS = 10_000_000
MAX_GROUPS = 2_000
CHECKED_CELLS = 5_000  # grids up to here have every combination checked when planned


class Group(NamedTuple):
    """All models of a grid that share one `Spec`."""

    spec: Spec
    fixed: dict[int, int]  # axis -> index of its value, for the axes that are static
    n_models: int
    chunk_models: int  # models advanced together; the last chunk is filled up with copies

    @property
    def n_chunks(self) -> int:
        """How many chunks the group is cut into."""
        return math.ceil(self.n_models / self.chunk_models)


class Chunk(NamedTuple):
    """A run of places [start, stop) of one group, trained together and committed whole."""

    number: int
    group: int
    start: int
    stop: int
    size: int  # models in the program, stop - start of them real

    @property
    def n_models(self) -> int:
        """How many models it holds, copies left out."""
        return self.stop - self.start


class Members(NamedTuple):
    """Who is in a chunk: K models and the settings of the cells they belong to."""

    model: np.ndarray  # [K] int64
    cell: np.ndarray  # [K] int64
    restart: np.ndarray  # [K] int64
    row: np.ndarray  # [K] which of `settings` is the model's
    settings: Sequence[Setting]


@dataclass(frozen=True)
class Plan:
    """Everything there is to train, in the order of training."""

    experiment: Experiment
    groups: tuple[Group, ...]

    @property
    def restarts(self) -> int:
        """How many models are trained for a cell."""
        return self.experiment.base.train.restarts

    @property
    def n_models(self) -> int:
        """How many models there are in all."""
        return self.experiment.n_cells * self.restarts

    @cached_property
    def chunks(self) -> tuple[Chunk, ...]:
        """All chunks, in the order of training."""
        return tuple(self._cut())

    def _cut(self) -> Iterator[Chunk]:
        count = 0
        for number, group in enumerate(self.groups):
            for start in range(0, group.n_models, group.chunk_models):
                stop = min(start + group.chunk_models, group.n_models)
                yield Chunk(count, number, start, stop, group.chunk_models)
                count += 1

    def models(self, chunk: Chunk) -> np.ndarray:
        """Return the numbers of a chunk's models, copies left out."""
        place = np.arange(chunk.start, chunk.stop)
        cell = self._cell(self.groups[chunk.group], place // self.restarts)
        return cell * self.restarts + place % self.restarts

    def members(self, chunk: Chunk) -> Members:
        """Return who is in a chunk; copies fill it up to `chunk.size`."""
        place = np.minimum(np.arange(chunk.start, chunk.start + chunk.size), chunk.stop - 1)
        cell = self._cell(self.groups[chunk.group], place // self.restarts)
        cells, row = np.unique(cell, return_inverse=True)
        restart = place % self.restarts
        settings = self.settings(chunk.group, cells)
        return Members(cell * self.restarts + restart, cell, restart, row, settings)

    def settings(self, group: int, cells: np.ndarray) -> Cells:
        """Return the settings of cells [C] of one group, without resolving each of them."""
        if group not in self._assemblers:
            fixed = self.groups[group].fixed
            self._assemblers[group] = Assembler(self.experiment, fixed, self.setting)
        return Cells(self._assemblers[group], cells)

    @cached_property
    def _assemblers(self) -> dict[int, Assembler]:
        """What has been resolved of the groups, by their numbers."""
        return {}

    def find(self, model: int) -> tuple[Chunk, int]:
        """Return the chunk a model is trained in and its row there."""
        cell, restart = divmod(model, self.restarts)
        index, inner, stride = {}, 0, 1
        for number, axis in reversed(list(enumerate(self.experiment.axes))):
            cell, index[number] = divmod(cell, axis.length)
        group = next(
            number
            for number, one in enumerate(self.groups)
            if all(index[axis] == value for axis, value in one.fixed.items())
        )
        fixed, size = self.groups[group].fixed, self.groups[group].chunk_models
        for number in sorted(index.keys() - fixed.keys(), reverse=True):
            inner += index[number] * stride
            stride *= self.experiment.axes[number].length
        before = sum(one.n_chunks for one in self.groups[:group])
        chunk, row = divmod(inner * self.restarts + restart, size)
        return self.chunks[before + chunk], row

    def cells_of(self, group: int, inner: np.ndarray) -> np.ndarray:
        """Return the numbers of cells by their positions inside their group; these rise alike."""
        return self._cell(self.groups[group], inner)

    def rank(self, group: int, cell: int) -> int:
        """Return how many cells of a group come before a cell of the grid."""
        fixed, axes = self.groups[group].fixed, self.experiment.axes
        left = math.prod(axis.length for i, axis in enumerate(axes) if i not in fixed)
        if cell >= self.experiment.n_cells:
            return left
        found, stride = 0, self.experiment.n_cells
        for number, axis in enumerate(axes):
            stride //= axis.length
            index = cell // stride % axis.length
            if number not in fixed:
                left //= axis.length
                found += index * left
            elif index != fixed[number]:
                return found + (left if index > fixed[number] else 0)
        return found

    def _cell(self, group: Group, inner: np.ndarray) -> np.ndarray:
        """Turn the position of a cell inside its group into its index in the grid."""
        cell = np.zeros_like(inner)
        stride = 1
        for number, axis in reversed(list(enumerate(self.experiment.axes))):
            if number in group.fixed:
                cell += group.fixed[number] * stride
            else:
                cell += inner % axis.length * stride
                inner = inner // axis.length
            stride *= axis.length
        return cell

    def assignment(self, cell: int) -> dict[str, object]:
        """Return what the sweep sets in a cell: parameter -> value."""
        chosen: list[tuple[str, object]] = []
        for axis in reversed(self.experiment.axes):
            cell, index = divmod(cell, axis.length)
            chosen = [*zip(axis.names, axis.item(index), strict=True), *chosen]
        return dict(chosen)

    def setting(self, cell: int) -> Setting:
        """Return the resolved setting of a cell."""
        return self.experiment.at(self.assignment(cell))


def plan(
    experiment: Experiment,
    chunk_models: Callable[[Spec, int], int],
    max_models: int = MAX_MODELS,
) -> Plan:
    """Cut a grid into chunks, every combination of settings checked where there are few.

    Args:
        experiment: what is to be trained; nothing of its grid is expanded that need not be.
        chunk_models: (spec, models there are) -> how many of them advance together.
        max_models: the most there may be.

    Returns:
        The plan: one entry per group of models that share a program.

    Raises:
        InvalidInput: a combination of settings does not fit, or the grid has too many models
            or programs.
    """
    made = cut(experiment, chunk_models, max_models)
    for cell in range(experiment.n_cells if experiment.n_cells <= CHECKED_CELLS else 0):
        made.setting(cell)
    return made


def cut(
    experiment: Experiment,
    chunk_models: Callable[[Spec, int], int],
    max_models: int = MAX_MODELS,
) -> Plan:
    """Group the grid by what has to be compiled and cut each group into chunks.

    chunk_models says how many models of a `Spec` advance together, given how many there
    are. Raises `InvalidInput` when the grid has more than `max_models` models.
    """
    axes = experiment.axes
    n_models = experiment.n_cells * experiment.base.train.restarts
    if n_models > max_models:
        raise InvalidInput(
            f"{experiment.n_cells:,} cells x {experiment.base.train.restarts:,} restarts = "
            f"{n_models:,} models, over the limit of {max_models:,} (--max-models)"
        )
    static = [number for number, axis in enumerate(axes) if not is_traced(axis.names)]
    lengths = [axes[number].length for number in static]
    if math.prod(lengths) > MAX_GROUPS:
        raise InvalidInput(
            f"the axes {', '.join(n for a in static for n in axes[a].names)} ask for "
            f"{math.prod(lengths):,} different programs, over the limit of {MAX_GROUPS:,}"
        )
    size = n_models // math.prod(lengths)
    groups = []
    for choice in np.ndindex(*lengths):
        fixed = dict(zip(static, map(int, choice), strict=True))
        spec = _spec_of_group(experiment, fixed)
        groups.append(Group(spec, fixed, size, chunk_models(spec, size)))
    return Plan(experiment, tuple(groups))


def is_traced(names: tuple[str, ...]) -> bool:
    """Say whether an axis only varies what may differ inside one compiled program."""
    return not any(map(compiles, names))


def _spec_of_group(experiment: Experiment, fixed: dict[int, int]) -> Spec:
    """The static part of all settings of a group: no flag that a varying setting decides holds."""
    spec = spec_of(_setting_of_group(experiment, fixed))
    traced = [axis for number, axis in enumerate(experiment.axes) if number not in fixed]
    varying = {name for axis in traced if axis.length > 1 for name in axis.names}
    undecided: dict[str, Any] = {flag: False for flag in FLAGS if FLAGS[flag] in varying}
    return replace(spec, **undecided)


def _setting_of_group(experiment: Experiment, fixed: dict[int, int]) -> Setting:
    """The group's first cell: static axes as chosen, the others at their first value."""
    assignment: dict[str, object] = {}
    for number, axis in enumerate(experiment.axes):
        assignment |= zip(axis.names, axis.item(fixed.get(number, 0)), strict=True)
    return experiment.at(assignment)


def spec_of(setting: Setting) -> Spec:
    """Return the static part of a setting."""
    return Spec(**{name: read(setting) for name, read in OF_SPEC.items()})


def knobs_of(members: Members, dtype: str) -> Knobs:
    """Return the traced part of the settings of K models, as arrays with K first."""

    def column(name: str) -> np.ndarray:
        if isinstance(members.settings, Cells):
            return members.settings.column(name, dtype)[members.row]
        return np.array([OF_KNOBS[name](one) for one in members.settings], dtype)[members.row]

    return Knobs(*map(column, Knobs._fields))  # type: ignore[arg-type]


def knobs_of_one(setting: Setting, dtype: str) -> Knobs:
    """Return the traced part of one setting, without the axis K."""
    return Knobs(*(values[0] for values in knobs_of(_alone(setting), dtype)))


def _alone(setting: Setting) -> Members:
    """The first restart of one setting."""
    zero = np.zeros(1, np.int64)
    return Members(zero, zero, zero, zero, [setting])


class Roots(NamedTuple):
    """What the random numbers of K models grow from."""

    seed: np.ndarray  # [K] uint32
    words: np.ndarray  # [K, 2] uint32, hash of the cell's settings; zero for shared draws
    shared: np.ndarray  # [K] bool: the hash is left out
    restart: np.ndarray  # [K] uint32


def roots_of(members: Members) -> Roots:
    """Return seed, settings hash and restart of K models."""
    settings, rows = members.settings, members.row
    if isinstance(settings, Cells):
        words, seed = settings.words(), settings.column("seed", np.uint32)
        shared = settings.column("draws", str) == "shared"
    else:
        words = np.array([setting_words(one) for one in settings], np.uint32)
        seed = np.array([one.seed for one in settings], np.uint32)
        shared = np.array([one.train.draws == "shared" for one in settings])
    return Roots(seed[rows], words[rows], shared[rows], members.restart.astype(np.uint32))


def roots_of_one(setting: Setting) -> Roots:
    """Return what the random numbers of one setting's first restart grow from, K = 1."""
    return roots_of(_alone(setting))
