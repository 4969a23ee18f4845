"""One file per analysis: how its finding is drawn.

A drawing shows what a finding holds and computes nothing that is not in it. A new analysis
gets a new file here and one line in `DRAWINGS`.
"""

from collections.abc import Callable

from superposition_cli.analyses.findings import Finding
from superposition_cli.report.drawings import (
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
    linearity,
    pentagon,
    phase,
    recovery,
    rotation,
    sets,
    structure,
    uniform,
)
from superposition_cli.report.style import Drawing
from superposition_cli.running.results import Results

DRAWINGS: dict[str, Callable[[Finding, Results], list[Drawing]]] = {
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
