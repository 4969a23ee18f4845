"""How are features aligned with neurons?

Features per neuron, alignment and kurtosis of each cell's selected model, beside the same
embedding in bases drawn at random: what differs from those is privileged.
Source: Elhage et al. 2022, "Superposition in a privileged basis".
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from superposition_cli.analyses import needs, selection
from superposition_cli.analyses.analysis import CELL, CELLS, Analysis, Key, Keys
from superposition_cli.analyses.findings import Finding, Row, mean
from superposition_cli.config import Setting
from superposition_cli.measures import rotations
from superposition_cli.running.fsio import Arrays
from superposition_cli.running.results import Results
from superposition_cli.theory import linear
from superposition_cli.toy import metrics, rng

ROTATIONS = 64


def basis(results: Results) -> Finding:
    """Return how features and neurons of each cell's selected model are aligned.

    With `_null`: the mean over 64 random rotations of the same embedding. Interference counts
    represented i alone: the direction of a vector of no length is noise. Cells without a
    selected model are left out.
    """
    models = selection.selected(results, "basis")
    measured = [measure(model.setting, model.params["W"]) for model in models]
    rows = tuple(
        {**model.axes, "kind": model.setting.model.kind, **row(arrays)}
        for model, arrays in zip(models, measured, strict=True)
    )
    names = ("W", "features_per_neuron", "kurtosis", "features_per_neuron_null", "alignment_null")
    stacked = {name: np.stack([arrays[name] for arrays in measured]) for name in names}
    cell = np.array([model.cell for model in models])
    return Finding({"cells": len(rows)}, rows, {**stacked, "cell": cell})


def measure(setting: Setting, W: np.ndarray) -> Arrays:
    """Return one embedding [n, m] measured in its own basis and in random ones, in float64."""
    with jax.enable_x64(True):
        key = selection.stream(setting, rng.Use.BASIS)
        double = jnp.asarray(W, jnp.float64)
        turned = double @ jnp.swapaxes(rotations.haars(key, ROTATIONS, double.shape[1]), 1, 2)
        crossed = jnp.where(metrics.represented(double), metrics.superposition(double), 0)
        kurtosis = _kurtosis(setting)
        measured = {
            "W": double,
            "interference": jnp.sum(crossed),
            "features_per_neuron": metrics.features_per_neuron(double),
            "alignment": metrics.basis_alignment(double),
            "kurtosis": kurtosis(double),
            "features_per_neuron_null": jax.vmap(_mean_features)(turned),
            "alignment_null": jax.vmap(metrics.basis_alignment)(turned),
            "kurtosis_null": jax.vmap(lambda one: jnp.nanmean(kurtosis(one)))(turned),
        }
        return {name: np.asarray(values) for name, values in measured.items()}


def _mean_features(W: jax.Array) -> jax.Array:
    return jnp.nanmean(metrics.features_per_neuron(W))


def _kurtosis(setting: Setting) -> Callable[[jax.Array], jax.Array]:
    """The function W [n, m] -> [m] for the data of a setting; NaN for tied features."""
    data = setting.data
    if data.kind != "uniform":
        return lambda W: jnp.full(W.shape[1], jnp.nan)
    p = jnp.asarray(setting.feature_probability(), jnp.float64)
    variance = linear.uniform_variance(p, data.low, data.high)
    cumulant = linear.fourth_cumulant(p, data.low, data.high)
    return lambda W: linear.hidden_kurtosis(W, variance, cumulant)


def row(measured: Arrays) -> Row:
    """Return the numbers of one measured embedding."""
    each = measured["features_per_neuron"]
    served = np.floor(each[np.isfinite(each)] + 0.5).astype(int)
    return {
        "represented": int(
            np.sum(np.linalg.norm(measured["W"], axis=1) > metrics.REPRESENTED_NORM)
        ),
        "interference": float(measured["interference"]),
        **{f"serving_{count}": int(np.sum(served == count)) for count in (1, 2, 3)},
        "serving_more": int(np.sum(served > 3)),
        "dead": int(len(each) - len(served)),
        "features_per_neuron": mean(each),
        "features_per_neuron_null": mean(measured["features_per_neuron_null"]),
        "alignment": mean(measured["alignment"]),
        "alignment_null": mean(measured["alignment_null"]),
        "alignment_above": float(np.mean(measured["alignment_null"] <= measured["alignment"])),
        "kurtosis": mean(measured["kurtosis"]),
        "kurtosis_null": mean(measured["kurtosis_null"]),
    }


NULL = "the mean of that over random rotations"
ANALYSIS = Analysis(
    question="How are features aligned with neurons?",
    needs=(needs.same(needs.FEATURES, needs.HIDDEN),),
    runs_on="cpu",
    keys=Keys(
        numbers={"cells": CELLS},
        rows={
            "kind": Key("the kind of the model", "word"),
            "represented": Key("features with ‖W_i‖ > 1/2"),
            "interference": Key("Σ_{i≠j} (Ŵ_i·W_j)² over represented i; no rotation changes it"),
            **{
                f"serving_{count}": Key(f"live neurons whose features_per_neuron rounds to {count}")
                for count in (1, 2, 3)
            },
            "serving_more": Key("live neurons of more than three features"),
            "dead": Key("neurons without input weights"),
            "features_per_neuron": Key("effective number of features, mean over live neurons"),
            "features_per_neuron_null": Key(NULL),
            "alignment": Key("how closely represented features follow single neurons, their mean"),
            "alignment_null": Key(NULL),
            "alignment_above": Key("share of random rotations aligned no better than the model"),
            "kurtosis": Key("kurtosis of a neuron's activation, mean over live neurons"),
            "kurtosis_null": Key(NULL),
        },
        arrays={
            "W": Key("embedding, in double precision", shape="[C, n, m]"),
            "features_per_neuron": Key("effective number of features; NaN if dead", shape="[C, m]"),
            "kurtosis": Key("kurtosis of each activation; NaN if unknown", shape="[C, m]"),
            "features_per_neuron_null": Key("its mean in each rotation", shape="[C, rotations]"),
            "alignment_null": Key("alignment in each rotation", shape="[C, rotations]"),
            "cell": CELL,
        },
    ),
    compute=basis,
)
