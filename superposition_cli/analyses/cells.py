"""What does each cell hold?

The rows of the table of cells, for claims about them.
"""

import numpy as np

from superposition_cli.analyses.analysis import Analysis, Key, Keys
from superposition_cli.analyses.findings import LEFT_OUT, Finding
from superposition_cli.running import tables
from superposition_cli.running.results import Results
from superposition_cli.toy.metrics import METRICS


def cells(results: Results) -> Finding:
    """Return one row per cell with every column of its table, and counts over the run.

    Rows are left out of a run of more than `tables.MOST_ROWS` cells.
    """
    columns, count = results.cells, results.plan.experiment.n_cells
    kept = count if count <= tables.MOST_ROWS else 0
    every = dict(columns) if kept else {}
    rows = tuple({name: values[i].item() for name, values in every.items()} for i in range(kept))
    diverged = int(np.sum(columns["diverged"]))
    numbers = {"cells": count, "models": results.plan.n_models, "diverged": diverged}
    return Finding(numbers | ({} if kept else {LEFT_OUT: count}), rows)


MEAN = "of the selected models, their mean"
ANALYSIS = Analysis(
    question="What does each cell hold?",
    needs=(),
    runs_on="any",
    keys=Keys(
        numbers={
            "cells": Key("cells of the run"),
            "models": Key("models of the run"),
            "diverged": Key("models that diverged"),
            LEFT_OUT: Key(
                f"cells that have no row; all of a run of more than {tables.MOST_ROWS:,}"
            ),
        },
        rows={
            "cell": Key("number of the cell"),
            "seed": Key("seed of its models"),
            "feature_probability": Key("p of all features, or in short the n"),
            "sparsity": Key("1 - p of all features, or in short the n"),
            "select": Key(
                "the rule that selects models; one that averages adds NAME_sd to every number "
                "below, the standard deviation over the selected models",
                "word",
            ),
            "selected_model": Key("number of the best selected model; NaN without one"),
            "models": Key("models of the cell"),
            "diverged": Key("those that diverged"),
            "not_converged": Key("those whose loss still falls"),
            "loss": Key(f"loss {MEAN}", "loss"),
            "loss_error": Key(
                "standard error of the loss as measured; 0 where it is exact", "loss"
            ),
            "null_loss": Key("loss of answering the mean", "loss"),
            "loss_normalised": Key("loss by null_loss"),
            **{name: Key(one.about) for name, one in METRICS.items() if not one.axes},
        },
    ),
    compute=cells,
)
