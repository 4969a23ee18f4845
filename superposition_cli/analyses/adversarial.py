"""Does superposition make a model easier to attack?

What the worst small push costs (see `attack`), beside the number of features that share a
dimension, 1/D*. Cells are in order of falling feature probability.
Source: Elhage et al. 2022, "Superposition and adversarial robustness".
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from superposition_cli.analyses import needs, selection
from superposition_cli.analyses.analysis import CELLS, Analysis, Key, Keys
from superposition_cli.analyses.findings import Finding, Row
from superposition_cli.config import Setting
from superposition_cli.measures import attack
from superposition_cli.running import grid
from superposition_cli.running.fsio import Arrays
from superposition_cli.running.results import Results
from superposition_cli.toy import data, metrics, train
from superposition_cli.toy.spec import Knobs, Params, Spec

SAMPLES = 4096


def adversarial(results: Results) -> Finding:
    """Return what the worst attack costs each cell's selected model, by 1/D*.

    The mean of 1/D_i over represented features is what V / λ² would be if each feature were
    attacked alone. pearson is null with fewer than three cells or where a side is constant.
    """
    models = selection.selected(results, "adversarial")
    rows = [
        {
            **model.axes,
            "p": model.recorded("feature_probability"),
            **measured(model.setting, model.params),
        }
        for model in sorted(models, key=lambda model: -model.recorded("feature_probability"))
    ]
    dense = rows[0]["vulnerability_scaled"]
    for row in rows:
        row["vulnerability_ratio"] = row["vulnerability_scaled"] / dense if dense else None
    names = ("p", "vulnerability_scaled", "features_per_dimension")
    arrays = {name: np.array([row[name] for row in rows], float) for name in names}
    return Finding(overall(rows, arrays), tuple(rows), arrays)


def measured(setting: Setting, params: Arrays) -> Row:
    """Return the row of one model, without its axes, on the evaluation data of its cell."""
    spec = grid.spec_of(setting)
    with jax.enable_x64(spec.dtype == "float64"):
        knobs = grid.knobs_of_one(setting, spec.dtype)
        _, key = selection.model_keys(setting)
        x = data.SAMPLERS[spec.data].draw(spec, knobs, key, SAMPLES)
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


def overall(rows: Sequence[Row], arrays: Arrays) -> dict[str, float | int | None]:
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
def _vulnerability(
    spec: Spec, knobs: Knobs, params: Params, x: jax.Array, length: jax.Array
) -> jax.Array:
    return attack.vulnerability(spec, knobs, params, x, length)


ANALYSIS = Analysis(
    question="Does superposition make a model easier to attack?",
    needs=(needs.LINEAR_HIDDEN, needs.probabilities(1)),
    runs_on="any",
    keys=Keys(
        numbers={
            "cells": CELLS,
            "pearson": Key("correlation of vulnerability_scaled with features_per_dimension"),
            "ratio_most": Key("largest vulnerability_ratio"),
        },
        rows={
            "p": Key("feature probability"),
            "attack_length": Key("length λ of the attack on an input"),
            "vulnerability": Key("V, what the worst attack of that length costs", "loss"),
            "vulnerability_scaled": Key("V / λ²", "loss"),
            "features_per_dimension": Key("1/D*, 0 where nothing is represented"),
            "inverse_dimensionality": Key("mean of 1/D_i over represented features"),
            "vulnerability_ratio": Key("vulnerability_scaled by that of the densest cell"),
        },
        arrays={
            "p": Key("feature probability", shape="[C]"),
            "vulnerability_scaled": Key("V / λ²", "loss", "[C]"),
            "features_per_dimension": Key("1/D*", shape="[C]"),
        },
    ),
    compute=adversarial,
)
