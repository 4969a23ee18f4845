"""Claims: what a configuration expects of its findings, and whether it came out."""

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

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
    seed: int
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


class Spread(NamedTuple):
    """What the runs of several seeds showed of one claim.

    held, seeds: in how many of how many runs it holds.
    least, median, most: of what was observed; None unless every observation is a number.
    counts: how often each observation came, by its words; empty for numbers.
    """

    held: int
    seeds: int
    least: float | None
    median: float | None
    most: float | None
    counts: Mapping[str, int]

    @property
    def passed(self) -> bool:
        """Whether the claim holds for every seed."""
        return self.held == self.seeds


def spread(observed: Sequence[Value], held: int) -> Spread:
    """Sum up what was observed of one claim, of which `held` observations are as expected."""
    numbers = [value for value in observed if _is_number(value)]
    if len(numbers) < len(observed):
        return Spread(held, len(observed), None, None, None, Counter(map(shown, observed)))
    median = statistics.median(numbers)
    return Spread(held, len(observed), min(numbers), median, max(numbers), {})


class Tally(NamedTuple):
    """A claim of a configuration and its spread over the seeds."""

    config: str
    verdict: Verdict
    spread: Spread


def tallies(outcomes: Sequence[Outcome], seeds: int) -> list[Tally]:
    """Sum up each claim over the runs of its configuration's seeds.

    outcomes: those of one configuration after the other, a run for each of its seeds.
    """
    return [
        Tally(outcomes[first].config, made[0], spread([v.observed for v in made], _held(made)))
        for first in range(0, len(outcomes), seeds)
        for made in zip(*(run.verdicts for run in outcomes[first : first + seeds]), strict=True)
    ]


def _held(verdicts: Sequence[Verdict]) -> int:
    return sum(one.passed for one in verdicts)


def _is_number(value: Value) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


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


def middle_shown(seen: Spread) -> str:
    """Return the median for the eye, or the most frequent word."""
    return (
        max(seen.counts, key=lambda word: seen.counts[word]) if seen.counts else shown(seen.median)
    )


def range_shown(seen: Spread) -> str:
    """Return least ... most, or each word and how often it came; empty where all are the same."""
    if len(seen.counts) > 1:
        return ", ".join(f"{count} x {word}" for word, count in seen.counts.items())
    return "" if seen.least == seen.most else f"{shown(seen.least)} ... {shown(seen.most)}"


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
