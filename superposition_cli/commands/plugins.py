"""Plug-ins: a user's own models, data, targets, metrics, objectives, analyses and drawings.

A plug-in is a Python file that defines any of `DOORS`, each a dict like the table of that name
in this package. It is named by `--use FILE.py`, or installed under the entry-point group
`superposition_cli`. Its words are then known everywhere the package's own are.

Text and SHA-256 of a file are taken from the same bytes that are executed. Nothing from a run
folder is ever executed.
"""

import contextlib
import functools
import hashlib
import importlib.abc
import importlib.util
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from superposition_cli.errors import InvalidInput, SpError

if TYPE_CHECKING:
    from superposition_cli.config import Experiment, Setting
    from superposition_cli.config.words import Source
    from superposition_cli.toy.spec import Spec

GROUP = "superposition_cli"
WORD = r"[a-z][a-z0-9_]{0,63}"
MAX_BYTES = 1 << 20


class PluginFault(InvalidInput):
    """A plug-in does not do what its door asks; one line with the file and the function."""


class Door(NamedTuple):
    """A table that plug-ins may add to.

    module, table: where it is. kind: what an entry must be an instance of, None for a function.
    """

    module: str
    kind: str | None

    @property
    def home(self) -> ModuleType:
        """The module of the table."""
        return importlib.import_module(f"{GROUP}.{self.module}")


DOORS = {
    "MODELS": Door("toy.models", "Model"),
    "SAMPLERS": Door("toy.data", "Sampler"),
    "TARGETS": Door("toy.data", "Target"),
    "METRICS": Door("toy.metrics", "Metric"),
    "OBJECTIVES": Door("toy.objectives", "Objective"),
    "ANALYSES": Door("analyses", "Analysis"),
    "DRAWINGS": Door("report.drawings", None),
}


FILES: list[str] = []  # that were named in this process


class _Bytes(importlib.abc.SourceLoader):
    """Runs exactly the bytes that were read, and keeps nothing beside the file."""

    def __init__(self, path: Path, content: bytes) -> None:
        self.path, self.content = path, content

    def get_filename(self, fullname: str) -> str:
        return str(self.path)

    def get_data(self, path: str | bytes) -> bytes:
        return self.content


def use(files: Iterable[Path | str] = ()) -> None:
    """Take in the plug-ins that are installed, then these files; each text only once.

    Raises `PluginFault` with one line for a file that cannot be read or run, defines nothing,
    or defines what is already there.
    """
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        spec = None
        with contextlib.suppress(ModuleNotFoundError):  # of a package that should hold it
            spec = importlib.util.find_spec(entry.module)
        if spec is None or not spec.origin:
            raise PluginFault(f"plug-in {entry.name}: there is no module {entry.module}")
        _take_in(Path(spec.origin), f"{entry.module} (installed as {entry.name})")
    for file in files:
        _take_in(Path(file), str(file))
        FILES.append(str(Path(file).absolute()))


def _take_in(path: Path, name: str) -> None:
    """Run one file and add what it defines to the tables."""
    from superposition_cli.config import words

    content = _read(path, name)
    digest = hashlib.sha256(content).hexdigest()
    if digest in words.LOADED:
        return
    module = _run(path, content, name, digest)
    entries = [
        (table, word, entry) for table in DOORS for word, entry in _entries(module, table, name)
    ]
    if not entries:
        raise PluginFault(f"{name}: defines none of {', '.join(DOORS)}")
    defines = tuple(f"{table}.{word}" for table, word, _ in entries)
    source = words.Source(path.name, content.decode("utf-8"), digest, defines)
    for table, word, entry in entries:
        _add(table, word, entry, source)
    words.LOADED[digest] = source


def _read(path: Path, name: str) -> bytes:
    """The bytes of a file that may be run."""
    if not path.is_file():
        raise PluginFault(f"{name}: there is no such file")
    if any((folder / "run.json").is_file() for folder in path.resolve().parents):
        raise PluginFault(
            f"{name}: lies in a run folder, from which nothing is executed; read it, copy it out"
        )
    try:
        content = path.read_bytes()
        content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise PluginFault(f"{name}: cannot be read: {problem}") from problem
    if len(content) > MAX_BYTES:
        raise PluginFault(f"{name}: is over {MAX_BYTES >> 20} MiB")
    return content


def _run(path: Path, content: bytes, name: str, digest: str) -> ModuleType:
    """Execute a file as a module of its own."""
    title = f"superposition_plugin_{digest[:8]}"
    spec = importlib.util.spec_from_loader(title, _Bytes(path, content), origin=str(path))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[title] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as problem:
        del sys.modules[title]
        raise PluginFault(f"{_line(path, name, problem)}: {_told(problem)}") from problem
    return module


def _entries(module: ModuleType, table: str, name: str) -> list[tuple[str, object]]:
    """What a module defines for one door, each entry of the right kind."""
    given = vars(module).get(table)
    door = DOORS[table]
    if given is None:
        return []
    if given is getattr(door.home, table):
        raise PluginFault(
            f"{name}: {table} is the package's own table; name yours: {table} = {{...}}"
        )
    if not isinstance(given, Mapping):
        raise PluginFault(f"{name}: {table} must be a dict; got {type(given).__name__}")
    for word, entry in given.items():
        at = f"{name}: {table}[{word!r}]"
        if not isinstance(word, str) or not re.fullmatch(WORD, word):
            raise PluginFault(f"{at}: a name has small letters, digits and underscores")
        if not (callable(entry) if door.kind is None else _is(entry, door)):
            kind = "a function" if door.kind is None else f"a {GROUP}.{door.module}.{door.kind}"
            raise PluginFault(f"{at} must be {kind}; got {type(entry).__name__}")
        if word in getattr(door.home, table):
            raise PluginFault(f"{at}: there is one of that name already, {_whose(table, word)}")
    return list(given.items())


def _is(entry: object, door: Door) -> bool:
    return isinstance(entry, getattr(door.home, door.kind or ""))


def _whose(table: str, word: str) -> str:
    """Where a name is from: a file, or the package."""
    from superposition_cli.config import words

    files = [one.file for one in words.LOADED.values() if f"{table}.{word}" in one.defines]
    return f"from {files[0]}" if files else "built in"


def _add(table: str, word: str, entry: object, source: "Source") -> None:
    """Put an entry into its table, its functions watched, and into the words of the checker."""
    from superposition_cli.config import words

    label = f"{source.file}: {table}[{word!r}]"
    watched = _watched(entry, label, source.file)
    getattr(DOORS[table].home, table)[word] = watched
    if table in words.TABLES:
        laws = frozenset(law for law in LAWS[table] if getattr(entry, law))
        marginal = _marginal if table == "SAMPLERS" else None
        choices = getattr(watched, "choices", None)
        words.TABLES[table][word] = words.Word(laws, marginal, source, choices)


LAWS = {
    "MODELS": ("of_moments", "few_active"),
    "SAMPLERS": ("patterns", "moments"),
    "TARGETS": ("moments",),
    "OBJECTIVES": ("fixed",),
}


def _marginal(setting: "Setting") -> tuple[float, ...]:
    """The probabilities of a setting's features, by the sampler's own word."""
    from superposition_cli.running import grid
    from superposition_cli.toy.data import SAMPLERS

    law = SAMPLERS[setting.data.kind].marginal
    q = law(grid.spec_of(setting), grid.knobs_of_one(setting, "float32"))
    return tuple(map(float, q))


def _watched(entry: object, label: str, file: str) -> Any:
    """The entry with functions that say whose they are when they fail."""
    if callable(entry):
        return _watching(entry, label, file)
    if isinstance(entry, tuple) and (names := getattr(entry, "_fields", ())):
        parts = zip(names, entry, strict=True)
        return type(entry)(*(_watched(part, f"{label}.{name}", file) for name, part in parts))
    return entry


def _watching(function: Callable, label: str, file: str) -> Callable:
    @functools.wraps(function)
    def watching(*given: Any, **named: Any) -> Any:
        try:
            return function(*given, **named)
        except SpError:
            raise
        except Exception as problem:
            where = label.replace(f"{file}:", f"{_line(Path(file), file, problem)}:", 1)
            raise PluginFault(f"{where} failed: {_told(problem)}") from problem

    return watching


def _line(path: Path, name: str, problem: BaseException) -> str:
    """The file with the line of a failure in it, where there is one."""
    if isinstance(problem, SyntaxError) and problem.lineno:
        return f"{name}:{problem.lineno}"
    frames = traceback.extract_tb(problem.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).name == path.name]
    return f"{name}:{lines[-1]}" if lines else name


def _told(problem: BaseException) -> str:
    """A failure in one line."""
    first = (str(problem).strip().splitlines() or [""])[0]
    return f"{type(problem).__name__}: {first[:200]}" if first else type(problem).__name__


def check(experiment: "Experiment") -> None:
    """Hold what an experiment takes from plug-ins against what its tables promise.

    Shapes and gradients of the programs it needs, by tracing alone. Raises `PluginFault`.
    """
    from superposition_cli.config import words
    from superposition_cli.running import grid
    from superposition_cli.toy import promises

    theirs = {entry for source in words.LOADED.values() for entry in source.defines}
    if not theirs:
        return
    plan = grid.cut(experiment, lambda spec, models: models, max_models=sys.maxsize)
    metrics = tuple(name for name in experiment.metrics if f"METRICS.{name}" in theirs)
    first: dict[tuple[str, ...], Spec] = {}  # program of each combination of words
    for group in plan.groups:
        spec = group.spec
        first.setdefault((spec.model, spec.data, spec.target, spec.objective), spec)
    for used, spec in first.items():
        if metrics or theirs & {f"{table}.{word}" for table, word in zip(LAWS, used, strict=True)}:
            for table, word, function, sentence in promises.broken(spec, metrics):
                file = _whose(table, word).removeprefix("from ")
                raise PluginFault(f"{file}: {table}[{word!r}].{function} {sentence}")
