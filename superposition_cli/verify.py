"""Claims: what a configuration expects of its findings, and whether it came out."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from superposition_cli import findings
from superposition_cli.analyses import ANALYSES
from superposition_cli.config import Expectation, Experiment
from superposition_cli.errors import InvalidInput
from superposition_cli.findings import Finding
from superposition_cli.results import Results

SCHEMA_VERSION = 1


class Verdict(NamedTuple):
    """One claim held against what was observed."""

    id: str
    claim: str
    expected: str
    observed: Any
    passed: bool
    seconds: float


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
    claimed = (entry.finding.split(".", 1)[0] for entry in experiment.expect)
    names = dict.fromkeys([*experiment.analyses, *claimed])
    return tuple(names) or ("cells",)


def of_run(path: Path, claims: Sequence[Expectation], again: bool = False) -> list[Verdict]:
    """Hold claims against the findings of a finished run folder."""
    return check(Results(path), claims, again)


def as_json(verdicts: Mapping[str, Sequence[Verdict]]) -> dict[str, Any]:
    """Return what `sp verify --json` prints: every verdict with its run, and whether all hold."""
    rows = [{"run": run, **one._asdict()} for run, found in verdicts.items() for one in found]
    passed = all(row["passed"] for row in rows)
    return {"schema_version": SCHEMA_VERSION, "passed": passed, "verdicts": rows}


def check(results: Results, claims: Sequence[Expectation], again: bool = False) -> list[Verdict]:
    """Hold claims against a run's findings, computing those it does not have yet.

    Raises `InvalidInput` when a claim names no analysis, number or row.
    """
    names = tuple(dict.fromkeys(entry.finding.split(".", 1)[0] for entry in claims))
    for entry in claims:
        if entry.finding.split(".", 1)[0] not in ANALYSES:
            raise InvalidInput(f"{entry.id}: {entry.finding} names no analysis")
    found: dict[str, Finding] = {}
    seconds: dict[str, float] = {}
    for name in names:
        begun = time.monotonic()
        found |= analyze(results, (name,), again)
        seconds[name] = time.monotonic() - begun
    return [_verdict(entry, found, seconds) for entry in claims]


def _verdict(
    entry: Expectation, found: Mapping[str, Finding], seconds: Mapping[str, float]
) -> Verdict:
    name, _, key = entry.finding.partition(".")
    try:
        observed = findings.pick(found[name], key, entry.where)
    except InvalidInput as problem:
        raise InvalidInput(f"{entry.id} {entry.finding}: {problem}") from None
    passed = holds(entry, observed)
    return Verdict(entry.id, entry.claim or "", expected(entry), observed, passed, seconds[name])


def expected(entry: Expectation) -> str:
    """Say what is expected, with the tolerance, in a few signs."""
    if entry.equals is not None:
        return f"= {entry.equals}"
    if entry.min is not None:
        return f">= {entry.min:g}"
    if entry.max is not None:
        return f"<= {entry.max:g}"
    slack = f"{entry.tol:g}" if entry.tol is not None else f"{100 * (entry.rtol or 0):g} %"
    return f"{entry.approx:g} +- {slack}"


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
