"""Claims: what a configuration expects of its findings, and whether it came out."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from superposition_cli import analyses
from superposition_cli.analyses import findings
from superposition_cli.analyses.findings import Finding, Row, Value
from superposition_cli.config import Expectation
from superposition_cli.errors import InvalidInput
from superposition_cli.running.results import Results


class Verdict(NamedTuple):
    """One claim held against what was observed."""

    id: str
    claim: str
    finding: str
    where: Row
    expected: str
    observed: Value
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


def check(results: Results, claims: Sequence[Expectation], again: bool = False) -> list[Verdict]:
    """Hold claims against a run's findings, computing those it does not have yet.

    Raises `InvalidInput` when a claim names no analysis, number or row.
    """
    names = tuple(dict.fromkeys(map(analyses.analysis_of, claims)))
    found = analyses.analyze(results, names, again)
    return [_verdict(entry, found) for entry in claims]


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


def shown(value: object) -> str:
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
