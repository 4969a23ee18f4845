"""One file per analysis: how its finding is drawn.

A drawing shows what a finding holds and computes nothing that is not in it. A new analysis
gets a new file here and one line in `DRAWINGS`.
"""

from collections.abc import Callable

from superposition_cli.findings import Finding
from superposition_cli.report.drawings import cells, phase, structure, uniform
from superposition_cli.report.style import Drawing
from superposition_cli.results import Results

DRAWINGS: dict[str, Callable[[Finding, Results], list[Drawing]]] = {
    "cells": cells.cells,
    "phase": phase.phase,
    "structure": structure.structure,
    "uniform": uniform.uniform,
}
