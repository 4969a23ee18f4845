"""How do dense and sparse features share a hidden space?

Features of two probabilities of being active: which of them get capacity, at equal
importance and at equal I_i σ_i². Source: Elhage et al. 2022, who take all features equally
sparse.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from superposition_cli.analyses.findings import Finding
from superposition_cli.config.settings import Setting
from superposition_cli.errors import InvalidInput
from superposition_cli.running import grid
from superposition_cli.running.results import Results
from superposition_cli.toy import data, metrics

GROUPS = ("dense", "sparse")


def density(results: Results) -> Finding:
    """Return what dense and sparse features get in the selected model of each cell.

    Rows: weighting, `equal` where all features have the same importance, `inverse_variance`
    where all have the same I_i σ_i², else `other`; p, features (how many) and the means of
    `of_feature` for either group; ratio_D and ratio_caused, the mean of sparse features by
    that of dense ones (null where that is 0).

    Arrays: p, norm, D, met and caused [cells, n], in the order of the features; cell [cells].

    Raises `InvalidInput` unless the features of every cell have two probabilities, where
    n_features differs between cells, and where none has a selected model. Cells without one
    are left out.
    """
    kept = list(results.selected)
    if not kept:
        raise InvalidInput("density needs a selected model in at least one cell")
    settings = [results.plan.setting(cell) for cell in kept]
    densities = [np.array(one.feature_probability(), float) for one in settings]
    if len({len(p) for p in densities}) > 1:
        raise InvalidInput("density needs the same n_features in every cell")
    if any(len(np.unique(p)) != len(GROUPS) for p in densities):
        raise InvalidInput("density needs features of two different probabilities in every cell")
    found = [
        of_feature(results.model(number)["W"], p)
        for number, p in zip(results.selected.values(), densities, strict=True)
    ]
    rows = tuple(
        {**results.plan.assignment(cell), "weighting": weighting(setting), **of_groups(p, one)}
        for cell, setting, p, one in zip(kept, settings, densities, found, strict=True)
    )
    arrays = {name: np.stack([one[name] for one in found]) for name in found[0]}
    arrays |= {"p": np.stack(densities), "cell": np.array(kept)}
    return Finding({"cells": len(rows)}, rows, arrays)


def weighting(setting: Setting) -> str:
    """Say what features have in common, their importance or that times their variance."""
    importance = np.array(setting.importance(), float)
    with jax.enable_x64(True):
        knobs = grid.knobs_of_one(setting, "float64")
        variance = np.diagonal(data.moments(grid.spec_of(setting), knobs).covariance)
    if np.allclose(importance, importance[0], rtol=1e-9):
        return "equal"
    benefit = importance * variance
    return "inverse_variance" if np.allclose(benefit, benefit[0], rtol=1e-9) else "other"


def of_feature(W: np.ndarray, p: np.ndarray) -> dict[str, np.ndarray]:
    """Measure every feature of an embedding in double precision: [n, m], [n] -> [n] each.

    norm ‖W_i‖; D, its dimensionality; met, Σ_{j≠i} p_j (Ŵ_i·W_j)², the net interference with
    it; caused, p_i Σ_{j≠i} (Ŵ_j·W_i)², its own share in that of all others.
    """
    with jax.enable_x64(True):
        on_device = jnp.asarray(W, jnp.float64)
        weighted = np.asarray(metrics.interference_matrix(on_device)) ** 2 * p
        return {
            "norm": np.asarray(metrics.feature_norms(on_device)),
            "D": np.asarray(metrics.feature_dimensionality(on_device)),
            "met": weighted.sum(axis=1),
            "caused": weighted.sum(axis=0),
        }


def of_groups(p: np.ndarray, found: dict[str, np.ndarray]) -> dict[str, Any]:
    """Average over the features of either probability, p [n], which takes two values."""
    row: dict[str, Any] = {}
    for group, value in zip(GROUPS, (p.max(), p.min()), strict=True):
        own = p == value
        row |= {f"p_{group}": float(value), f"features_{group}": int(own.sum())}
        row |= {f"{name}_{group}": float(values[own].mean()) for name, values in found.items()}
    for name in ("D", "caused"):
        dense = row[f"{name}_dense"]
        row[f"ratio_{name}"] = row[f"{name}_sparse"] / dense if dense > 0 else None
    return row
