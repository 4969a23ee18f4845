"""Does superposition make a model easier to attack?

What the worst small push costs (see `attack`), beside the number of features that share a
dimension, 1/D*. Cells are in order of falling feature probability.
Source: Elhage et al. 2022, "Superposition and adversarial robustness".
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from superposition_cli.analyses.findings import Finding
from superposition_cli.config.settings import Setting
from superposition_cli.errors import InvalidInput
from superposition_cli.measures import attack
from superposition_cli.running import grid
from superposition_cli.running.results import Results
from superposition_cli.toy import data, metrics, train
from superposition_cli.toy.spec import Params

SAMPLES = 4096
CLEAN = ("linear", "relu_output")


def adversarial(results: Results) -> Finding:
    """Return what the worst attack costs each cell's selected model, by 1/D*.

    Rows: attack_length λ, vulnerability V, V / λ² as vulnerability_scaled, its ratio to the
    cell of highest p as vulnerability_ratio, features_per_dimension 1/D* and the mean of 1/D_i
    over represented features, which V / λ² would be if each feature were attacked alone.
    Numbers: pearson, the correlation of V / λ² with 1/D*, null with fewer than three cells or
    where one of them is constant; ratio_most, the largest ratio. Arrays: p, vulnerability_scaled
    and features_per_dimension [cells].

    Raises `InvalidInput` for models whose embedding is not their own read-out and for features
    of several probabilities in a cell.
    """
    check(results)
    density = np.asarray(results.cells["feature_probability"], float)
    kept = sorted(results.selected, key=lambda cell: -density[cell])
    if not kept:
        raise InvalidInput("adversarial needs a selected model in at least one cell")
    rows = []
    for cell in kept:
        found = measured(results.plan.setting(cell), results.model(results.selected[cell]))
        rows.append({**results.plan.assignment(cell), "p": float(density[cell]), **found})
    dense = rows[0]["vulnerability_scaled"]
    for row in rows:
        row["vulnerability_ratio"] = row["vulnerability_scaled"] / dense if dense else None
    names = ("p", "vulnerability_scaled", "features_per_dimension")
    arrays = {name: np.array([row[name] for row in rows], float) for name in names}
    return Finding(overall(rows, arrays), tuple(rows), arrays)


def check(results: Results) -> None:
    """Raise `InvalidInput` where attacks along W Wᵀ are not the model's own."""
    for cell in results.selected:
        setting = results.plan.setting(cell)
        if setting.model.kind not in CLEAN:
            raise InvalidInput(
                f"adversarial is for {' and '.join(CLEAN)}, not {setting.model.kind}"
            )
        if len(set(setting.feature_probability())) > 1:
            raise InvalidInput("adversarial needs one feature probability for all features")


def measured(setting: Setting, params: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return the row of one model, without its axes, on the evaluation data of its cell."""
    spec = grid.spec_of(setting)
    with jax.enable_x64(spec.dtype == "float64"):
        knobs = grid.knobs_of_one(setting, spec.dtype)
        _, keys = train.model_keys(*grid.roots_of_one(setting))
        x = data.SAMPLERS[spec.data].draw(spec, knobs, keys[0], SAMPLES)
        length = attack.LENGTH * attack.input_length(x)
        cost = train.compiled(_vulnerability, (spec,), knobs, dict(params), x, length)
    D = np.asarray(metrics.feature_dimensionality(jnp.asarray(params["W"])))
    there = np.asarray(metrics.represented(jnp.asarray(params["W"])))
    share = float(metrics.dims_per_feature(jnp.asarray(params["W"])))
    return {
        "attack_length": float(length),
        "vulnerability": float(cost),
        "vulnerability_scaled": float(cost) / float(length) ** 2,
        "features_per_dimension": 1 / share if np.isfinite(share) else 0.0,
        "inverse_dimensionality": float(np.mean(1 / D[there])) if there.any() else None,
    }


def overall(rows: list[dict[str, Any]], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return what holds for all cells together."""
    cost, shared = arrays["vulnerability_scaled"], arrays["features_per_dimension"]
    vary = len(rows) > 2 and np.ptp(cost) > 0 and np.ptp(shared) > 0
    ratios = [row["vulnerability_ratio"] for row in rows if row["vulnerability_ratio"] is not None]
    return {
        "cells": len(rows),
        "pearson": float(np.corrcoef(cost, shared)[0, 1]) if vary else None,
        "ratio_most": max(ratios, default=None),
    }


@partial(jax.jit, static_argnums=0)
def _vulnerability(spec: Any, knobs: Any, params: Params, x: jax.Array, length: jax.Array) -> Any:
    return attack.vulnerability(spec, knobs, params, x, length)
