"""How do dense and sparse features share a hidden space?

Features of two probabilities of being active: which of them get capacity, at equal
importance and at equal I_i σ_i². Source: Elhage et al. 2022, who take all features equally
sparse.
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
from superposition_cli.toy import metrics

GROUPS = ("dense", "sparse")


def density(results: Results) -> Finding:
    """Return what dense and sparse features get in the selected model of each cell.

    Groups have the means of `of_feature` over their features. Cells without a selected model
    are left out.
    """
    models = selection.selected(results, "density")
    densities = [np.array(model.setting.marginal(), float) for model in models]
    measured = [
        of_feature(model.params["W"], p) for model, p in zip(models, densities, strict=True)
    ]
    rows = tuple(
        {**model.axes, "weighting": weighting(model.setting), **of_groups(p, each)}
        for model, p, each in zip(models, densities, measured, strict=True)
    )
    arrays = {name: np.stack([each[name] for each in measured]) for name in measured[0]}
    arrays |= {"p": np.stack(densities), "cell": np.array([model.cell for model in models])}
    return Finding({"cells": len(rows)}, rows, arrays)


def weighting(setting: Setting) -> str:
    """Say what features have in common, their importance or that times their variance."""
    importance = np.array(setting.importance(), float)
    variance = np.diagonal(selection.covariance(setting))
    if np.allclose(importance, importance[0], rtol=1e-9):
        return "equal"
    benefit = importance * variance
    return "inverse_variance" if np.allclose(benefit, benefit[0], rtol=1e-9) else "other"


def of_feature(W: np.ndarray, p: np.ndarray) -> Arrays:
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


def of_groups(p: np.ndarray, each: Arrays) -> Row:
    """Average over the features of either probability, p [n], which takes two values."""
    row: dict[str, float | int] = {}
    for group, value in zip(GROUPS, (p.max(), p.min()), strict=True):
        members = p == value
        row |= {f"p_{group}": float(value), f"features_{group}": int(members.sum())}
        row |= {f"{name}_{group}": float(values[members].mean()) for name, values in each.items()}
    ratios: dict[str, float | None] = {}
    for name in ("D", "caused"):
        dense = row[f"{name}_dense"]
        ratios[f"ratio_{name}"] = row[f"{name}_sparse"] / dense if dense > 0 else None
    return {**row, **ratios}


OF_FEATURE = {
    "norm": Key("‖W_i‖"),
    "D": Key("dimensionality D_i"),
    "met": Key("Σ_{j≠i} p_j (Ŵ_i·W_j)², interference met"),
    "caused": Key("p_i Σ_{j≠i} (Ŵ_j·W_i)², interference caused"),
}
ANALYSIS = Analysis(
    question="How do dense and sparse features share a hidden space?",
    needs=(
        needs.probabilities(2),
        needs.same(needs.FEATURES),
        needs.MOMENTS,
    ),
    runs_on="cpu",
    keys=Keys(
        numbers={"cells": CELLS},
        rows={
            "weighting": Key(
                "equal where all I_i are, inverse_variance where all I_i σ_i² are, else other",
                "word",
            ),
            **{f"p_{group}": Key(f"probability of {group} features") for group in GROUPS},
            **{f"features_{group}": Key(f"number of {group} features") for group in GROUPS},
            **{
                f"{name}_{group}": Key(f"{key.meaning}, mean over {group} features", key.unit)
                for group in GROUPS
                for name, key in OF_FEATURE.items()
            },
            "ratio_D": Key("D_sparse by D_dense; null where that is 0"),
            "ratio_caused": Key("caused_sparse by caused_dense; null where that is 0"),
        },
        arrays={
            "p": Key("feature probabilities", shape="[C, n]"),
            **{name: key._replace(shape="[C, n]") for name, key in OF_FEATURE.items()},
            "cell": CELL,
        },
    ),
    compute=density,
)
