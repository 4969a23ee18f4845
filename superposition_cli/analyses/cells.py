"""What does each cell hold? The rows of cells.csv, for claims about them."""

import numpy as np

from superposition_cli.analyses.findings import Finding
from superposition_cli.running.results import Results


def cells(results: Results) -> Finding:
    """Return one row per cell with every column of cells.csv, and counts over the run."""
    columns = results.cells
    count = len(next(iter(columns.values())))
    rows = tuple({name: values[i].item() for name, values in columns.items()} for i in range(count))
    diverged = int(np.sum(columns["diverged"]))
    numbers = {"cells": count, "models": results.plan.n_models, "diverged": diverged}
    return Finding(numbers, rows)
