"""One file per analysis: how its finding is drawn.

A drawing shows what a finding holds and computes nothing that is not in it. A new analysis
gets a new file here and one line in `DRAWINGS`.
"""

from collections.abc import Callable

from superposition_cli.findings import Finding
<<<<<<< HEAD
from superposition_cli.report.drawings import (
    adversarial,
    capacity,
    cells,
    decomposition,
    directions,
    dynamics,
    pentagon,
    phase,
    sets,
    structure,
    uniform,
)
=======
from superposition_cli.report.drawings import cells, density, linearity, phase, structure, uniform
>>>>>>> 4f7cc88 (Draw additivity, probes, responses, and dense beside sparse features)
from superposition_cli.report.style import Drawing
from superposition_cli.results import Results

DRAWINGS: dict[str, Callable[[Finding, Results], list[Drawing]]] = {
    "adversarial": adversarial.adversarial,
    "capacity": capacity.capacity,
    "cells": cells.cells,
<<<<<<< HEAD
    "decomposition": decomposition.decomposition,
    "directions": directions.directions,
    "dynamics": dynamics.dynamics,
    "pentagon": pentagon.pentagon,
=======
    "density": density.density,
    "linearity": linearity.linearity,
>>>>>>> 4f7cc88 (Draw additivity, probes, responses, and dense beside sparse features)
    "phase": phase.phase,
    "sets": sets.sets,
    "structure": structure.structure,
    "uniform": uniform.uniform,
}
