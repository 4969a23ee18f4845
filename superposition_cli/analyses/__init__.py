"""One question per file: each reads a finished run and returns a finding.

A new analysis is a new file here, with its `ANALYSIS` at the foot, and one line in `ANALYSES`.
"""

import contextlib
from collections.abc import Iterable

from superposition_cli.analyses import (
    adversarial,
    basis,
    capacity,
    cells,
    computation,
    decoding,
    decomposition,
    density,
    dictionary,
    directions,
    dynamics,
    equivariance,
    findings,
    linearity,
    pentagon,
    phase,
    recovery,
    rotation,
    sets,
    structure,
    uniform,
)
from superposition_cli.analyses.analysis import Analysis
from superposition_cli.analyses.findings import Finding
from superposition_cli.analyses.needs import Cells
from superposition_cli.config import Expectation, Experiment
from superposition_cli.config.complaints import Complaint, hint
from superposition_cli.config.words import ELSEWHERE
from superposition_cli.errors import InvalidInput
from superposition_cli.running import devices
from superposition_cli.running.grid import CHECKED_CELLS
from superposition_cli.running.results import Results
from superposition_cli.toy import train
from superposition_cli.toy.metrics import METRICS

ANALYSES: dict[str, Analysis] = {
    "adversarial": adversarial.ANALYSIS,
    "basis": basis.ANALYSIS,
    "capacity": capacity.ANALYSIS,
    "cells": cells.ANALYSIS,
    "computation": computation.ANALYSIS,
    "decoding": decoding.ANALYSIS,
    "decomposition": decomposition.ANALYSIS,
    "density": density.ANALYSIS,
    "dictionary": dictionary.ANALYSIS,
    "directions": directions.ANALYSIS,
    "dynamics": dynamics.ANALYSIS,
    "equivariance": equivariance.ANALYSIS,
    "linearity": linearity.ANALYSIS,
    "pentagon": pentagon.ANALYSIS,
    "phase": phase.ANALYSIS,
    "recovery": recovery.ANALYSIS,
    "rotation": rotation.ANALYSIS,
    "sets": sets.ANALYSIS,
    "structure": structure.ANALYSIS,
    "uniform": uniform.ANALYSIS,
}


def named(name: str) -> Analysis:
    """Return an analysis by its name. Raises `InvalidInput` where there is none here."""
    if name not in ANALYSES:
        raise InvalidInput(f"{name}: there is no such analysis; {ELSEWHERE}")
    return ANALYSES[name]


def check(name: str, experiment: Experiment, most: int = CHECKED_CELLS) -> list[Complaint]:
    """Return what an experiment lacks for an analysis, by its configuration alone.

    Each complaint has the place at fault and a sentence "needs ...". Nothing is trained, and a
    need resolves at most so many settings: see `needs.Cells`.
    """
    cells = Cells(experiment, most)
    complaints = (need.complaint(cells) for need in named(name).needs)
    return [complaint for complaint in complaints if complaint]


def lacking(experiment: Experiment) -> list[Complaint]:
    """Return what an experiment lacks for the analyses that it asks for, told before training.

    A claim about an analysis that there is not is among it.
    """
    found = [
        Complaint(
            ("expect", place, "finding"),
            f"{name} is no analysis{_hint(name, ANALYSES)}",
        )
        for place, name in enumerate(entry.finding.split(".")[0] for entry in experiment.expect)
        if name not in ANALYSES
    ]
    for name in wanted(experiment) if not found else experiment.analyses:
        faults = check(name, experiment) if name in ANALYSES else ()
        found += [fault._replace(sentence=f"{name} {fault.sentence}") for fault in faults]
    return found


def _hint(name: str, known: Iterable[str]) -> str:
    """The nearest name there is, or where else one may come from."""
    return hint(name, known) or f"; {ELSEWHERE}"


def answer(name: str, results: Results) -> Finding:
    """Compute a finding, on the device its analysis says, with products in full precision.

    Raises `InvalidInput` for a run that the analysis is not for.
    """
    experiment = results.plan.experiment
    faults = check(name, experiment, experiment.n_cells)
    if faults:
        raise InvalidInput(*(f"{name} {fault.sentence}" for fault in faults))
    analysis = named(name)
    place = devices.on_cpu() if analysis.runs_on == "cpu" else contextlib.nullcontext()
    with place, train.full_precision():
        return analysis.compute(results)


def analyze(results: Results, names: tuple[str, ...], again: bool = False) -> dict[str, Finding]:
    """Return the named findings of a run, computing and keeping those it does not have yet.

    Raises `InvalidInput` as `answer` does.
    """
    folder = results.run.path / "findings"
    answers = {}
    for name in names:
        kept = None if again else findings.load(folder, name)
        if kept is None:
            kept = answer(name, results)
            findings.save(folder, name, kept)
        answers[name] = kept
    return answers


def kept(results: Results) -> tuple[str, ...]:
    """Return the analyses whose findings a run has, in the order of `ANALYSES`."""
    folder = results.run.path / "findings"
    return tuple(name for name in ANALYSES if (folder / f"{name}.json").is_file())


def parted(names: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return which names are of metrics and which of analyses, which come first.

    Raises `InvalidInput` for a name that is neither.
    """
    given = tuple(dict.fromkeys(names))
    known = (*ANALYSES, *METRICS)
    if unknown := [name for name in given if name not in known]:
        one = unknown[0]
        raise InvalidInput(f"{one}: is neither an analysis nor a metric{_hint(one, known)}")
    questions = tuple(name for name in given if name in ANALYSES)
    return tuple(name for name in given if name not in questions), questions


def wanted(experiment: Experiment) -> tuple[str, ...]:
    """Return the analyses a configuration asks for, by name or through a claim."""
    names = dict.fromkeys([*experiment.analyses, *map(analysis_of, experiment.expect)])
    return tuple(names) or ("cells",)


def analysis_of(entry: Expectation) -> str:
    """Return the analysis a claim is about. Raises `InvalidInput` where there is none."""
    name = entry.finding.split(".", 1)[0]
    if name not in ANALYSES:
        raise InvalidInput(f"{entry.id}: {entry.finding} names no analysis there is; {ELSEWHERE}")
    return name
