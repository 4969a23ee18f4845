"""Claims: what a configuration expects of its findings, and whether it came out."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from superposition_cli import __version__, config
from superposition_cli.analyses import ANALYSES, findings
from superposition_cli.analyses.findings import Finding
from superposition_cli.config import Expectation, Experiment
from superposition_cli.errors import InvalidInput
from superposition_cli.running import launch
from superposition_cli.running.folder import now
from superposition_cli.running.results import Results

SCHEMA_VERSION = 1


class Case(NamedTuple):
    """One run to be verified, and the configuration file it is trained from.

    source: None for a run that is there; only a configuration is trained.
    """

    path: Path
    experiment: Experiment
    source: Path | None


class Verdict(NamedTuple):
    """One claim held against what was observed."""

    id: str
    claim: str
    finding: str
    where: Mapping[str, Any]
    expected: str
    observed: Any
    passed: bool


class Outcome(NamedTuple):
    """The verdicts on one run, and what they took.

    train_seconds: None when there was nothing left to train.
    analysis_seconds: next to nothing where the findings were kept.
    """

    config: str
    hash8: str
    cost: str
    run: str
    device: str
    train_seconds: float | None
    analysis_seconds: float
    verdicts: tuple[Verdict, ...]

    @property
    def passed(self) -> bool:
        """Whether every claim holds."""
        return all(one.passed for one in self.verdicts)


def cases(
    names: Sequence[str], runs_dir: Path, read: Callable[[str], tuple[Experiment, Path]]
) -> list[Case]:
    """Return what is to be verified; `read` loads a configuration by its name.

    Raises `InvalidInput` for a name that is neither, for what expects nothing, and for a
    claim about an analysis that there is not: all before anything is trained.
    """
    found = []
    for name in dict.fromkeys(names):
        if (Path(name) / "run.json").is_file():
            case = Case(Path(name), launch.load(Path(name))[1].experiment, None)
        else:
            experiment, source = read(name)
            case = Case(launch.default_path(runs_dir, experiment), experiment, source)
        if not case.experiment.expect:
            raise InvalidInput(f"{name}: has no claims to verify (nothing under expect)")
        for entry in case.experiment.expect:
            _analysis_of(entry)
        found.append(case)
    return found


def outcome(case: Case, train_seconds: float | None, again: bool = False) -> Outcome:
    """Hold the claims of a case against its finished run."""
    begun = time.monotonic()
    results = Results(case.path)
    verdicts = tuple(check(results, case.experiment.expect, again))
    experiment = case.experiment
    return Outcome(
        config=experiment.name,
        hash8=config.hash8(experiment),
        cost=experiment.cost,
        run=str(case.path),
        device=results.run.manifest["machine"]["device"],
        train_seconds=train_seconds,
        analysis_seconds=time.monotonic() - begun,
        verdicts=verdicts,
    )


def as_json(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return what `sp verify --json` prints: every run with its verdicts, and whether all hold."""
    return {
        "schema_version": SCHEMA_VERSION,
        "version": __version__,
        "created": now(),
        "passed": all(one.passed for one in outcomes),
        "configs": [
            {**one._asdict(), "passed": one.passed, "verdicts": [v._asdict() for v in one.verdicts]}
            for one in outcomes
        ],
    }


def analyze(results: Results, names: tuple[str, ...], again: bool = False) -> dict[str, Finding]:
    """Return the named findings of a run, computing and keeping those it does not have yet."""
    folder = results.run.path / "findings"
    found = {}
    for name in names:
        kept = None if again else findings.load(folder, name)
        if kept is None:
            kept = ANALYSES[name](results)
            findings.save(folder, name, kept)
        found[name] = kept
    return found


def wanted(experiment: Experiment) -> tuple[str, ...]:
    """Return the analyses a configuration asks for, by name or through a claim."""
    names = dict.fromkeys([*experiment.analyses, *map(_analysis_of, experiment.expect)])
    return tuple(names) or ("cells",)


def check(results: Results, claims: Sequence[Expectation], again: bool = False) -> list[Verdict]:
    """Hold claims against a run's findings, computing those it does not have yet.

    Raises `InvalidInput` when a claim names no analysis, number or row.
    """
    names = tuple(dict.fromkeys(map(_analysis_of, claims)))
    found = analyze(results, names, again)
    return [_verdict(entry, found) for entry in claims]


def _analysis_of(entry: Expectation) -> str:
    name = entry.finding.split(".", 1)[0]
    if name not in ANALYSES:
        raise InvalidInput(f"{entry.id}: {entry.finding} names no analysis")
    return name


def _verdict(entry: Expectation, found: Mapping[str, Finding]) -> Verdict:
    name, _, key = entry.finding.partition(".")
    try:
        observed = findings.pick(found[name], key, entry.where)
    except InvalidInput as problem:
        raise InvalidInput(f"{entry.id} {entry.finding}: {problem}") from None
    return Verdict(
        id=entry.id,
        claim=entry.claim or "",
        finding=entry.finding,
        where=entry.where or {},
        expected=expected(entry),
        observed=observed,
        passed=holds(entry, observed),
    )


def expected(entry: Expectation) -> str:
    """Say what is expected, with the tolerance, in a few signs."""
    if entry.equals is not None:
        return f"= {shown(entry.equals)}"
    if entry.min is not None:
        return f">= {entry.min:g}"
    if entry.max is not None:
        return f"<= {entry.max:g}"
    slack = f"{entry.tol:g}" if entry.tol is not None else f"{100 * (entry.rtol or 0):g} %"
    return f"{entry.approx:g} +- {slack}"


def shown(value: Any) -> str:
    """Return an observed or expected value for the eye, numbers to six digits."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def holds(entry: Expectation, observed: Any) -> bool:
    """Say whether an observation is as expected; what is missing or NaN never is."""
    if observed is None or (isinstance(observed, float) and np.isnan(observed)):
        return False
    if entry.equals is not None:
        return bool(observed == entry.equals)
    if entry.min is not None:
        return bool(observed >= entry.min)
    if entry.max is not None:
        return bool(observed <= entry.max)
    target = entry.approx or 0.0
    slack = entry.tol if entry.tol is not None else (entry.rtol or 0) * abs(target)
    return bool(abs(observed - target) <= slack)
