"""The settings of many cells, put together from one resolution for every value of an axis.

Inside a group only settings that vary inside a program differ. Most of them mean the same
whatever the others are, so that of each value it is resolved once what it means, and a cell is
looked up from its place on every axis. Axes whose settings interact are resolved together.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from superposition_cli.config import Experiment, Setting, hashing
from superposition_cli.config.axes import Axis, Values
from superposition_cli.config.marks import Part, fields, readers
from superposition_cli.toy.spec import Knobs

KEPT_BYTES = 1 << 26  # of resolved values, about, for each group
READ = readers(Setting, Part.KNOBS)
# What a varying setting goes by in the programs: sparsity is a feature_probability.
NAMES = {
    ".".join(place): next((m.name for m in own if m.part is Part.KNOBS and m.name), place[-1])
    for place, own in fields(Setting)
}
WHOLE = b'{"data":{%b},"model":{%b},"train":{%b}}'  # what is hashed of a setting
# Inputs that are constant and always active are refused, so what one may be depends on the other.
TOGETHER = frozenset({"feature_probability", "high"})


class Entry(NamedTuple):
    """What one place on the axes of a bundle stands for, by the names in `NAMES`."""

    values: dict[str, object]  # as `Knobs` has them, and the seed and how draws are made
    texts: dict[str, bytes]  # the field in the text that is hashed; empty for a default


class Bundle(NamedTuple):
    """Axes that are resolved together, by their numbers, and what they set."""

    axes: tuple[int, ...]
    names: frozenset[str]


def name_of(parameter: str) -> str:
    """Return what a swept parameter goes by in the programs; an entry by its vector's name."""
    return NAMES[".".join(parameter.split(".")[:2])]


def bundles(experiment: Experiment, axes: Sequence[int]) -> list[Bundle]:
    """Return the given axes of an experiment, those together whose settings interact."""
    followed = _of_variance(experiment)
    found: list[Bundle] = []
    for number in axes:
        names = frozenset(map(name_of, experiment.axes[number].names))
        if followed and names & TOGETHER:
            names |= {"importance"}
        mine = [one for one in found if _interact(one.names, names)]
        found = [one for one in found if one not in mine]
        merged = (*itertools.chain(*(one.axes for one in mine)), number)
        found.append(Bundle(tuple(sorted(merged)), names.union(*(one.names for one in mine))))
    return found


def _interact(one: frozenset[str], other: frozenset[str]) -> bool:
    return bool(one & other) or bool(one & TOGETHER and other & TOGETHER)


def _of_variance(experiment: Experiment) -> bool:
    """Whether an importance may follow from the distribution of the inputs."""
    swept = [form for axis in experiment.axes for form in _importances(axis)]
    return "inverse_variance" in repr([experiment.data.importance, *swept])


def _importances(axis: Axis) -> Iterator[Values]:
    """The listed values of an axis that are importances; others are plain numbers."""
    for name, form in zip(axis.names, axis.forms, strict=True):
        if name_of(name) == "importance" and isinstance(form, Values):
            yield form


class Assembler:
    """The settings of the cells of one group.

    Args:
        experiment: whose grid it is.
        fixed: axis -> index of its value, for the axes that are the same in all cells.
        setting: the resolved setting of a cell.
    """

    def __init__(
        self, experiment: Experiment, fixed: dict[int, int], setting: Callable[[int], Setting]
    ) -> None:
        lengths = [axis.length for axis in experiment.axes]
        free = [i for i, length in enumerate(lengths) if i not in fixed and length > 1]
        self.experiment = experiment
        self.lengths = lengths
        self.strides = [int(np.prod(lengths[i + 1 :], dtype=object)) for i in range(len(lengths))]
        self.first = sum(index * self.strides[axis] for axis, index in fixed.items())
        self.setting = setting
        self.bundles = bundles(experiment, free)
        self.owner = {name: one for one in self.bundles for name in one.names}
        size = 1024 + 64 * self.setting(self.first).model.n_features
        self.entry = lru_cache(maxsize=max(64, KEPT_BYTES // size))(self._entry)

    def places(self, bundle: Bundle, cells: np.ndarray) -> np.ndarray:
        """Return for cells [C] where they are on a bundle's axes, as the first such cell [C]."""
        place = np.full_like(cells, self.first)
        for axis in bundle.axes:
            place += cells // self.strides[axis] % self.lengths[axis] * self.strides[axis]
        return place

    def _entry(self, cell: int, names: frozenset[str]) -> Entry:
        if names == {"seed"} and (seed := self._seed(cell)) is not None:
            return Entry({"seed": seed}, {"seed": b""})
        setting = self.setting(cell)
        parts = hashing.covered(setting)
        known = {name: field for part in parts.values() for name, field in part.items()}
        texts = {n: f'"{n}":{hashing.as_json(known[n])}'.encode() for n in names if n in known}
        return Entry(
            {name: _value(setting, name) for name in names},
            {name: texts.get(name, b"") for name in names},
        )

    def _seed(self, cell: int) -> int | None:
        """The seed of a cell as its axis has it; None where that must be checked, and refused."""
        (axis,) = self.owner["seed"].axes
        (seed,) = self.experiment.axes[axis].item(cell // self.strides[axis] % self.lengths[axis])
        return seed if type(seed) is int and 0 <= seed < 2**32 else None

    @cached_property
    def base(self) -> Entry:
        """All that is the same in all cells, as the first one has it."""
        everything = frozenset({*Knobs._fields, "seed", "draws"} - self.owner.keys())
        return self._entry(self.first, everything)

    @cached_property
    def sections(self) -> list[list[str | bytes]]:
        """The text that is hashed, in its order: a list a section, of texts and of names."""
        parts = hashing.covered(self.setting(self.first))
        return [self._section(name, parts[name]) for name in sorted(parts)]

    def _section(self, section: str, part: dict[str, object]) -> list[str | bytes]:
        of_section = {NAMES[name] for name in NAMES if name.startswith(f"{section}.")}
        found: list[str | bytes] = []
        for name in sorted({*part} | (of_section & self.owner.keys())):
            if name in self.owner:
                found.append(name)
                continue
            text = f'"{name}":{hashing.as_json(part[name])}'.encode()
            before = found[-1] if found else ""
            if isinstance(before, bytes):
                found[-1] = before + b"," + text
            else:
                found.append(text)
        return found


def _value(setting: Setting, name: str) -> object:
    if name in READ:
        return READ[name](setting)
    return setting.seed if name == "seed" else setting.train.draws


class Cells(Sequence[Setting]):
    """The settings of C cells of one group, by column; one of them is resolved when asked for."""

    def __init__(self, assembler: Assembler, cells: np.ndarray) -> None:
        self.assembler = assembler
        self.cells = cells
        self._entries: dict[Bundle, tuple[list[Entry], np.ndarray]] = {}

    def __len__(self) -> int:
        return len(self.cells)

    def __getitem__(self, place: int) -> Setting:  # type: ignore[override]
        return self.assembler.setting(int(self.cells[place]))

    def differing(self, name: str) -> tuple[list[object], np.ndarray]:
        """Return the values of a setting by its name in the programs, and whose they are [C]."""
        if name not in self.assembler.owner:
            return [self.assembler.base.values[name]], np.zeros(len(self), np.int64)
        entries, index = self._at(self.assembler.owner[name])
        return [entry.values[name] for entry in entries], index

    def column(self, name: str, dtype: DTypeLike) -> np.ndarray:
        """Return the values of a setting in all cells, [C] or [C, n]."""
        values, index = self.differing(name)
        return np.array(values, dtype)[index]

    def words(self) -> np.ndarray:
        """Return `hashing.setting_words` of all cells, uint32 [C, 2]."""
        bodies = [self._bodies(section) for section in self.assembler.sections]
        whole = (WHOLE % parts for parts in zip(*bodies, strict=True))
        return hashing.words_of(whole)

    def _bodies(self, section: list[str | bytes]) -> Iterator[bytes]:
        """What is inside the braces of one section, cell by cell."""
        if not any(isinstance(part, str) for part in section):
            return itertools.repeat(
                b",".join(part for part in section if isinstance(part, bytes)), len(self)
            )
        columns = [self._texts(part) for part in section]
        return (b",".join(filter(None, parts)) for parts in zip(*columns, strict=True))

    def _texts(self, part: str | bytes) -> Iterator[bytes]:
        if isinstance(part, bytes):
            return itertools.repeat(part, len(self))
        entries, index = self._at(self.assembler.owner[part])
        texts = [entry.texts[part] for entry in entries]
        return map(texts.__getitem__, index.tolist())

    def _at(self, bundle: Bundle) -> tuple[list[Entry], np.ndarray]:
        """The entries of a bundle that occur, and which of them is each cell's [C]."""
        if bundle not in self._entries:
            places = self.assembler.places(bundle, self.cells)
            found, index = np.unique(places, return_inverse=True)
            entries = [self.assembler.entry(place, bundle.names) for place in found.tolist()]
            self._entries[bundle] = (entries, index)
        return self._entries[bundle]
