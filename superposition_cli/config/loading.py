"""YAML text -> Experiment: everything wrong with it at once, or every setting explicit.

A configuration is read strictly, edited by `--set`, checked section by section, and each
axis is tried against the base. Complaints carry the line and column they are about.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from superposition_cli.config import strict_yaml
from superposition_cli.config.axes import Axis, Values, address, assign
from superposition_cli.config.complaints import (
    Complaint,
    complaints,
    dotted,
    hint,
    shown,
    written_place,
)
from superposition_cli.config.experiment import Experiment
from superposition_cli.config.misfits import misfits, out_of_range
from superposition_cli.config.sections import PAIR, DataSettings, ModelSettings
from superposition_cli.config.settings import Setting
from superposition_cli.errors import InvalidInput

MAX_SHOWN = 100  # problems in one report
MAX_TRIED = 10_000  # items of all axes that are tried against the base
MAX_BAD = 10  # items of one axis that are reported
Lacking = Callable[[Experiment], Iterable[Complaint]]
M = TypeVar("M", bound=BaseModel)


def load(
    source: Path,
    overrides: Sequence[str] = (),
    known: Mapping[str, Collection[str]] | None = None,
    base_alone: bool = False,
    lacking: Lacking | None = None,
) -> Experiment:
    """Read a configuration file.

    Args:
        source: a YAML file of at most 256 KiB.
        overrides: `a.b=value` texts as given to `--set`, applied in order.
        known: the names there are, such as {"metrics": {...}, "analyses": {...}}; not checked
            where left out.
        base_alone: whether the sweep will be left out, so that overrides may set what it sets.
        lacking: what a sound experiment lacks for what is asked of it later.

    Returns:
        The experiment, sound on its own, every axis tried against its base.

    Raises:
        InvalidInput: every problem, one line each, with file, line and column.
    """
    try:
        if not source.is_file():
            raise InvalidInput(f"{source}: there is no such file")
        if source.stat().st_size > strict_yaml.MAX_BYTES:
            raise InvalidInput(f"{source}:1:1 is over {strict_yaml.MAX_BYTES // 1024} KiB")
        text = source.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{source}: cannot be read: {error.strerror}") from None
    return loads(text, str(source), overrides, known, base_alone, lacking)


def loads(
    text: bytes | str,
    name: str,
    overrides: Sequence[str] = (),
    known: Mapping[str, Collection[str]] | None = None,
    base_alone: bool = False,
    lacking: Lacking | None = None,
) -> Experiment:
    """Read a configuration from its text as `load` does; `name` stands for the file."""
    report = _Report(name)
    document = report.read(text)
    edits = [edit for override in overrides if (edit := report.edit(override))]
    if document is None or not isinstance(document.value, dict):
        if document is not None:
            report.add(Complaint((), f"needs a mapping of keys; got {shown(document.value)}"))
        raise report.refused()
    tree = report.apply(edits, document.value, base_alone)
    experiment = _check(tree, report, known or {})
    if experiment is not None and lacking is not None and not report.lines:
        for complaint in lacking(experiment):
            report.add(complaint._replace(place=written_place(complaint.place, tree)))
    if experiment is None or report.lines:
        raise report.refused()
    return experiment


class _Edit(NamedTuple):
    text: str
    keys: tuple[str, ...]
    value: object


class _Report:
    """Collects complaints and words them as `file:line:col key: what is wrong`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: list[tuple[tuple[int, int], str]] = []
        self.positions: dict[strict_yaml.Path, tuple[int, int]] = {(): (1, 1)}
        self.refused_places: set[tuple] = set()
        self.edits: list[_Edit] = []

    def read(self, text: bytes | str) -> strict_yaml.Document | None:
        try:
            document: strict_yaml.Document | None = strict_yaml.read(text)
        except strict_yaml.Problems as error:
            for line, column, path, message in error.problems:
                self.line((line, column), dotted(path), message)
                self.refused_places.add(path)
            document = error.document
        self.positions = document.positions if document else self.positions
        return document

    def edit(self, override: str) -> _Edit | None:
        keys, equals, value = override.partition("=")
        text = override[:200]
        if not equals or not all(keys.split(".")):
            self.lines.append(((0, 0), f"--set {text}: needs the form section.key=value"))
            return None
        try:
            return _Edit(text, tuple(keys.split(".")), strict_yaml.value(value))
        except strict_yaml.Problems as error:
            self.lines.extend(((0, 0), f"--set {text}: {p.message}") for p in error.problems)
            return None

    def apply(
        self, edits: list[_Edit], tree: dict[str, object], base_alone: bool
    ) -> dict[str, object]:
        for edit in edits:
            try:
                if not base_alone and (axis := _axis_of(edit.keys, tree)):
                    raise ValueError(
                        f"is set by the sweep; write --set sweep.parameters.{axis}=[...], or train "
                        "the base alone with sp train"
                    )
                keys = _sweep_keys(edit.keys, tree)
                tree = assign(tree, keys, edit.value)
                self.edits.append(edit._replace(keys=keys))
            except ValueError as error:
                self.lines.append(((0, 0), f"--set {edit.text}: {error}"))
        return tree

    def add(self, complaint: Complaint) -> None:
        place = complaint.place
        if any(place[:k] in self.refused_places for k in range(1, len(place) + 1)):
            return
        words = tuple(map(str, place))
        for edit in reversed(self.edits):
            holds = words[: len(edit.keys)] == edit.keys
            if holds or (edit.keys[: len(words)] == words and place not in self.positions):
                key = "" if words == edit.keys else dotted(place) + " "
                self.lines.append(((0, 0), f"--set {edit.text}: {key}{complaint.sentence}"))
                return
        nearest = next(place[:k] for k in range(len(place), -1, -1) if place[:k] in self.positions)
        self.line(self.positions[nearest], dotted(place), complaint.sentence)

    def line(self, position: tuple[int, int], key: str, sentence: str) -> None:
        where = f"{self.name}:{position[0]}:{position[1]}"
        self.lines.append(
            (position, f"{where} {key}: {sentence}" if key else f"{where} {sentence}")
        )

    def refused(self) -> InvalidInput:
        lines = [_one_line(line) for _, line in sorted(self.lines, key=lambda line: line[0])]
        more = [f"{self.name}: and {len(lines) - MAX_SHOWN:,} more problems"]
        return InvalidInput(*lines[:MAX_SHOWN], *(more if len(lines) > MAX_SHOWN else []))


def _axis_of(keys: tuple[str, ...], tree: dict[str, object]) -> str | None:
    """Return the axis that sets a field, or the vector whose entry it is, under either name."""
    sweep = tree.get("sweep")
    written = sweep.get("parameters") if isinstance(sweep, dict) else None
    twin = (keys[0], PAIR.get(keys[1], "")) if len(keys) > 1 else keys
    names = [".".join(name) for name in (keys, keys[:2], twin)]
    return next((name for name in names if isinstance(written, dict) and name in written), None)


def _sweep_keys(keys: tuple[str, ...], tree: dict[str, object]) -> tuple[str, ...]:
    """Join the dotted name of a swept parameter, which is one key of the mapping."""
    if keys[:2] != ("sweep", "parameters") or len(keys) < 3:
        return keys
    sweep = tree.get("sweep")
    written = sweep.get("parameters") if isinstance(sweep, dict) else None
    names = written if isinstance(written, dict) else {}
    cuts = [k for k in range(len(keys), 3, -1) if ".".join(keys[2:k]) in names]
    cut = cuts[0] if cuts else len(keys)
    return (*keys[:2], ".".join(keys[2:cut]), *keys[cut:])


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _check(
    tree: dict[str, object], report: _Report, known: Mapping[str, Collection[str]]
) -> Experiment | None:
    """Check everything that can be checked; the experiment if it is sound on its own."""
    experiment, found = _validated(Experiment, tree)
    if experiment is None:
        found += [c for c in _misfits(tree) if c not in found]
    for complaint in [*found, *_unknown_words(tree, known)]:
        report.add(Complaint(written_place(complaint.place, tree), complaint.sentence))
    parts = {key: tree[key] for key in ("seed", "model", "data", "train", "sweep") if key in tree}
    grid = experiment or _validated(Experiment, {"name": "grid", **parts})[0]
    for complaint in _bad_items(grid) if grid else ():
        report.add(Complaint(written_place(complaint.place, tree), complaint.sentence))
    return experiment


def _validated(model: type[M], tree: Any) -> tuple[M | None, list[Complaint]]:
    try:
        return model.model_validate(tree), []
    except ValidationError as error:
        return None, complaints(error, model)


def _misfits(tree: dict[str, object]) -> list[Complaint]:
    """What model and data demand of each other, though other sections may be wrong."""
    model, _ = _validated(ModelSettings, tree.get("model"))
    data, _ = _validated(DataSettings, tree.get("data"))
    if data is None:
        return []
    return misfits(model, data) if model else out_of_range(data)


def _unknown_words(
    tree: dict[str, object], known: Mapping[str, Collection[str]]
) -> Iterator[Complaint]:
    for key, words in known.items():
        given = tree.get(key)
        for i, word in enumerate(given if isinstance(given, list) else ()):
            if isinstance(word, str) and word not in words:
                yield Complaint((key, i), f"{shown(word)} is not known" + hint(word, words))


def _bad_items(experiment: Experiment) -> Iterator[Complaint]:
    """Try every axis alone against the base; a long one at its ends and evenly between."""
    for axis in experiment.axes:
        budget, bad = MAX_TRIED // len(experiment.axes), 0
        for i in _tried(axis.length):
            budget -= 1 + experiment.model.n_features // 500
            assignment = dict(zip(axis.names, axis.item(i), strict=True))
            found = experiment.attempt(assignment)
            if isinstance(found, Setting):
                budget -= found.model.n_features // 500
            else:
                bad += 1
                yield _bad_item(axis, i, found[0])
            if bad >= MAX_BAD or (budget < 0 and i > 0):
                break


def _bad_item(axis: Axis, i: int, found: Complaint) -> Complaint:
    owners = [name for name in axis.names if address(name)[:2] == found.place[:2]]
    name = (owners or axis.names)[0]
    value = axis.item(i)[axis.names.index(name)]
    which = f"item {i + 1:,} of {axis.length:,} ({shown(value)})"
    is_listed = isinstance(axis.forms[axis.names.index(name)], Values)
    where = ("sweep", "parameters", name, *(("values", i) if is_listed else ()))
    return Complaint(where, f"{which}: {dotted(found.place)} {found.sentence}")


def _tried(length: int) -> Iterator[int]:
    """The items to try: the ends first, then all, or a thousand of a very long axis."""
    yield from sorted({0, length - 1})
    stride = 1 if length <= MAX_TRIED else length // 1000
    yield from range(stride if stride > 1 else 1, length - 1, stride)


def resolved(experiment: Experiment) -> dict[str, object]:
    """Return the configuration as plain data with every default explicit.

    Loading it again gives the same experiment; what is None is left out.
    """
    written = experiment.model_dump(mode="json", exclude_none=True)
    return {"name": written.pop("name"), **written}


def json_schema() -> dict[str, object]:
    """Return the JSON Schema of a configuration, for editors."""
    schema = Experiment.model_json_schema()
    schema["required"].remove("data")  # not for an objective that draws no inputs
    return schema
