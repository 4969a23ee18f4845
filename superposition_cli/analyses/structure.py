"""What has each cell's best model stored, and how does it compare with a linear model?"""

import jax
import numpy as np

from superposition_cli.analyses import needs, selection
from superposition_cli.analyses.analysis import CELL, CELLS, Analysis, Key, Keys
from superposition_cli.analyses.findings import Finding, Row
from superposition_cli.analyses.selection import Selected
from superposition_cli.config import Setting
from superposition_cli.measures import geometry
from superposition_cli.running.fsio import Arrays
from superposition_cli.running.results import Results
from superposition_cli.theory import linear
from superposition_cli.toy import metrics


def structure(results: Results) -> Finding:
    """Return per cell the polytopes of the embedding, its gaps, and loss / linear optimum.

    linear_ratio is the loss by that of the best linear model of the same data, by closed
    form (Eckart and Young; see `linear.linear_optimum`); null where that has none. Gaps are
    angles in degrees between neighbouring represented features, for two hidden dimensions.
    Cells whose models all diverged are left out. There
    are no arrays where shapes differ between cells, and neither arrays nor linear_ratio of more
    than 10,000 features.
    """
    models = selection.any_selected(results)
    params = [model.params for model in models]
    rows = tuple(
        {
            **model.axes,
            **_of_embedding(given["W"].astype(np.float64)),
            "linear_ratio": _linear_ratio(model.setting, model.recorded("loss")),
        }
        for model, given in zip(models, params, strict=True)
    )
    return Finding({"cells": len(rows)}, rows, _arrays(models, params))


def _arrays(models: list[Selected], params: list[Arrays]) -> Arrays:
    """What a figure of the embeddings needs; nothing where their shapes differ or are vast."""
    if len({given["W"].shape for given in params}) != 1:
        return {}
    if len(params[0]["W"]) > geometry.MOST_COMPARED:
        return {}
    W = np.stack([given["W"] for given in params]).astype(np.float64)
    with jax.enable_x64(True):
        crossed = np.asarray(jax.jit(jax.vmap(metrics.superposition))(W))
    return {
        "cell": np.array([model.cell for model in models]),
        "W": W,
        "b": np.stack([given["b"] for given in params]).astype(np.float64),
        "importance": np.array([model.setting.importance() for model in models], float),
        "superposition": crossed,
    }


def _of_embedding(W: np.ndarray) -> Row:
    gaps = geometry.angles_2d(W) if W.shape[1] == 2 else np.zeros(0)
    norms = np.linalg.norm(W, axis=1)
    return {
        "structure": geometry.describe(W).split(" (")[0],
        "represented": int((norms > 0.5).sum()),
        "smallest_norm": float(norms.min()),
        "smallest_gap": float(gaps[0]) if len(gaps) else None,
        "largest_gap": float(gaps[-1]) if len(gaps) else None,
    }


def _linear_ratio(setting: Setting, loss: float) -> float | None:
    """The loss by the linear optimum of a setting's data, in double precision."""
    if setting.model.n_features > geometry.MOST_COMPARED:
        return None
    covariance = selection.covariance(setting)
    importance = np.array(setting.importance(), float)
    try:
        return loss / linear.linear_optimum(importance, covariance, setting.model.n_hidden)
    except (ValueError, ZeroDivisionError):
        return None


ANALYSIS = Analysis(
    question=(
        "What has each cell's best model stored, and how does it compare with a linear model?"
    ),
    needs=(needs.MOMENTS,),
    runs_on="cpu",
    keys=Keys(
        numbers={"cells": CELLS},
        rows={
            "structure": Key("polytopes that represented features form", "word"),
            "represented": Key("features with ‖W_i‖ > 1/2"),
            "smallest_norm": Key("shortest ‖W_i‖"),
            "smallest_gap": Key("smallest angle between neighbouring features", "degrees"),
            "largest_gap": Key("largest angle between neighbouring features", "degrees"),
            "linear_ratio": Key("loss by that of the best linear model; null where unknown"),
        },
        arrays={
            "cell": CELL,
            "W": Key("embedding", shape="[C, n, m]"),
            "b": Key("biases", shape="[C, n]"),
            "importance": Key("I_i", shape="[C, n]"),
            "superposition": Key("squared interference met by each feature", shape="[C, n]"),
        },
    ),
    compute=structure,
)
