"""One question per file: each reads a finished run and returns a finding.

A new analysis is a new file here and one line in `ANALYSES`.
"""

from collections.abc import Callable

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
from superposition_cli.analyses.findings import Finding
from superposition_cli.config import Expectation, Experiment
from superposition_cli.errors import InvalidInput
from superposition_cli.running.results import Results

ANALYSES: dict[str, Callable[[Results], Finding]] = {
    "adversarial": adversarial.adversarial,
    "basis": basis.basis,
    "capacity": capacity.capacity,
    "cells": cells.cells,
    "computation": computation.computation,
    "decoding": decoding.decoding,
    "decomposition": decomposition.decomposition,
    "density": density.density,
    "dictionary": dictionary.dictionary,
    "directions": directions.directions,
    "dynamics": dynamics.dynamics,
    "equivariance": equivariance.equivariance,
    "linearity": linearity.linearity,
    "pentagon": pentagon.pentagon,
    "phase": phase.phase,
    "recovery": recovery.recovery,
    "rotation": rotation.rotation,
    "sets": sets.sets,
    "structure": structure.structure,
    "uniform": uniform.uniform,
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
    names = dict.fromkeys([*experiment.analyses, *map(analysis_of, experiment.expect)])
    return tuple(names) or ("cells",)


def analysis_of(entry: Expectation) -> str:
    """Return the analysis a claim is about. Raises `InvalidInput` where there is none."""
    name = entry.finding.split(".", 1)[0]
    if name not in ANALYSES:
        raise InvalidInput(f"{entry.id}: {entry.finding} names no analysis")
    return name
