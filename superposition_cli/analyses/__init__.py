"""One question per file: each reads a finished run and returns a finding.

A new analysis is a new file here and one line in `ANALYSES`.
"""

from collections.abc import Callable

from superposition_cli.analyses.cells import cells
from superposition_cli.analyses.phase import phase
from superposition_cli.analyses.structure import structure
from superposition_cli.analyses.uniform import uniform
from superposition_cli.findings import Finding
from superposition_cli.results import Results

ANALYSES: dict[str, Callable[[Results], Finding]] = {
    "cells": cells,
    "phase": phase,
    "structure": structure,
    "uniform": uniform,
}
