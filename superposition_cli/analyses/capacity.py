"""How is the capacity of the hidden space allotted to features by their importance?

The capacity C_i of a feature is the share of a dimension it has to itself, the same as its
dimensionality D_i. Source: Scherlis et al. 2022, "Polysemanticity and capacity in neural
networks".
"""

import jax
import jax.numpy as jnp
import numpy as np

from superposition_cli.analyses import needs, selection
from superposition_cli.analyses.analysis import CELL, CELLS, Analysis, Key, Keys
from superposition_cli.analyses.findings import Finding, Row
from superposition_cli.config import Setting
from superposition_cli.running.fsio import Arrays
from superposition_cli.running.results import Results
from superposition_cli.theory.expansion import feature_losses
from superposition_cli.theory.linear import uniform_variance
from superposition_cli.toy import metrics

EDGE = 0.05  # a capacity within this of 1 or 0 is full or none


def capacity(results: Results) -> Finding:
    """Return how the selected model of each cell divides its capacity among its features.

    Cells without one are left out.
    """
    models = selection.selected(results, "capacity")
    params = [model.params for model in models]
    C = np.stack([capacities(given["W"]) for given in params])
    cost = np.stack(
        [costs(given, model.setting) for given, model in zip(params, models, strict=True)]
    )
    importance = np.array([model.setting.importance() for model in models], float)
    rows = tuple(
        {**model.axes, **of_embedding(shares, weights, model.setting.model.n_hidden)}
        for model, shares, weights in zip(models, C, importance, strict=True)
    )
    shares = [row["sum_share"] for row in rows]
    numbers = {
        "cells": len(rows),
        "sum_share_least": min(shares),
        "sum_share_most": max(shares),
        "smallest": float(C.min()),
        "largest": float(C.max()),
    }
    cell = np.array([model.cell for model in models])
    arrays = {"capacity": C, "importance": importance, "cost": cost, "cell": cell}
    return Finding(numbers, rows, arrays)


def capacities(W: np.ndarray) -> np.ndarray:
    """Return the capacity of every feature in double precision: [n, m] -> [n]."""
    with jax.enable_x64(True):
        return np.asarray(metrics.feature_dimensionality(jnp.asarray(W, jnp.float64)))


def costs(model: Arrays, setting: Setting) -> np.ndarray:
    """Return what every feature costs, E (x_i - y_i)² / σ_i²: [n].

    Against C_i it is the curve that Scherlis et al. 2022 divide capacity by: 0 for a
    dimension of its own, 1 for a feature without capacity. Exact, in double precision, for
    relu_output and independent features in U[0, 1]; NaN for other models and data, and for
    features that are never active.
    """
    data, p = setting.data, np.array(setting.feature_probability(), float)
    known = (data.kind, data.target, data.low, data.high) == ("uniform", "identity", 0, 1)
    if setting.model.kind != "relu_output" or not known:
        return np.full(len(p), np.nan)
    with jax.enable_x64(True):
        W, b = (jnp.asarray(model[name], jnp.float64) for name in ("W", "b"))
        error, variance = _feature_losses(W, b, p), uniform_variance(p)
        return np.asarray(jnp.where(p > 0, error / jnp.where(p > 0, variance, 1), jnp.nan))


_feature_losses = jax.jit(feature_losses)


def of_embedding(C: np.ndarray, importance: np.ndarray, n_hidden: int) -> Row:
    """Measure one allotment of capacity, C and importance [n].

    rise: the most by which a feature has more capacity than one of greater importance,
    max (C_j - C_i) over I_j < I_i, or 0: capacity goes to what matters most. Null where all
    features are equally important.
    """
    full, none = C > 1 - EDGE, C < EDGE
    return {
        "sum_capacity": float(C.sum()),
        "sum_share": float(C.sum() / n_hidden),
        "full": int(full.sum()),
        "fractional": int((~full & ~none).sum()),
        "none": int(none.sum()),
        "rise": rise(C, importance),
    }


def rise(C: np.ndarray, importance: np.ndarray) -> float | None:
    """Return max (C_j - C_i)₊ over pairs with I_j < I_i, None where there is no such pair."""
    less = importance[:, None] < importance[None, :]  # [j, i]
    if not less.any():
        return None
    return float(max(0.0, (C[:, None] - C[None, :])[less].max()))


ANALYSIS = Analysis(
    question="How is the capacity of the hidden space allotted to features by their importance?",
    needs=(needs.same(needs.FEATURES),),
    runs_on="cpu",
    keys=Keys(
        numbers={
            "cells": CELLS,
            "sum_share_least": Key("least sum_share of a cell"),
            "sum_share_most": Key("largest sum_share of a cell"),
            "smallest": Key("least capacity of any feature"),
            "largest": Key("largest capacity of any feature"),
        },
        rows={
            "sum_capacity": Key("Σ C_i"),
            "sum_share": Key("Σ C_i / m"),
            "full": Key(f"features with C_i > {1 - EDGE:g}"),
            "fractional": Key("features between full and none"),
            "none": Key(f"features with C_i < {EDGE:g}"),
            "rise": Key("max (C_j - C_i) over I_j < I_i, or 0; null with equal importances"),
        },
        arrays={
            "capacity": Key("C_i, in the order of the features", shape="[C, n]"),
            "importance": Key("I_i", shape="[C, n]"),
            "cost": Key("E (x_i - y_i)² / σ_i²; NaN where it is not known", shape="[C, n]"),
            "cell": CELL,
        },
    ),
    compute=capacity,
)
